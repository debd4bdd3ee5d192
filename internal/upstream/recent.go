package upstream

import (
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/window"
)

// Trouble is one thing that went wrong with a call lately.
type Trouble struct {
	At       time.Time
	Protocol call.Protocol
	// Method is the HTTP method or the full gRPC method.
	Method string
	// Instance is who was asked last, empty if nobody was.
	Instance string
	Reason   call.Reason
	// Attempt is the number of the attempt that went wrong, 0 if none was made.
	Attempt int
	// Again says that the call was tried again; else it has failed.
	Again bool
	// Err is what was told, nil for an answer that was tried again.
	Err error
}

// recent keeps the latest troubles. Where there are many a second only the first
// are kept and the others counted, so that what led to them can still be read and
// failing costs no lock. The zero value is empty.
type recent struct {
	turn  atomic.Int64 // the second it is, and how many were kept in it
	kept  atomic.Int64
	extra atomic.Uint64

	troubles window.Latest[Trouble]
}

// How many troubles are kept, in all and of a second.
const (
	recentMost      = 64
	recentPerSecond = 4
)

// note keeps a trouble, unless there were enough this second.
func (r *recent) note(now time.Duration, t Trouble) {
	turn := int64(now / time.Second)
	if old := r.turn.Load(); old != turn && r.turn.CompareAndSwap(old, turn) {
		r.kept.Store(0)
	}
	if r.kept.Load() >= recentPerSecond || r.kept.Add(1) > recentPerSecond {
		r.extra.Add(1)
		return
	}
	t.At = time.Now()
	r.troubles.Keep(t, recentMost)
}

// Note keeps what has gone wrong with a call, for people to look at.
func (u *Upstream) Note(t Trouble) { u.recent.note(mono.Now(), t) }

// Recent returns the latest troubles, oldest first, and how many more there were
// that were not kept.
func (u *Upstream) Recent() (all []Trouble, more uint64) {
	return u.recent.troubles.All(), u.recent.extra.Load()
}
