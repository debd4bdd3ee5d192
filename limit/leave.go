package limit

import (
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
)

// Leave gives back what Enter took. Done or DoneAt must be called exactly once;
// on the zero value they do nothing.
type Leave struct {
	from       leaver
	also       leaver // a key's entry, which may be forgotten when nobody is in
	began      time.Duration
	generation uint32
	calm       bool
	waited     time.Duration
}

// Waited is how long the call stood in line before it was let in, 0 if it had not
// to.
func (l Leave) Waited() time.Duration { return l.waited }

type leaver interface {
	leave(l Leave, now time.Duration, r call.Reason)
}

// Done tells how the call ended.
func (l Leave) Done(r call.Reason) {
	if l.from != nil {
		l.DoneAt(mono.Now(), r)
	}
}

// DoneAt is Done on the clock of EnterAt.
func (l Leave) DoneAt(now time.Duration, r call.Reason) {
	if l.from != nil {
		l.from.leave(l, now, r)
	}
	if l.also != nil {
		l.also.leave(l, now, r)
	}
}
