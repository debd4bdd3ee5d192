package mesh

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/internal/mono"
)

// arrivals counts the calls that come in, to see when no more do.
type arrivals struct {
	all  atomic.Uint64
	last atomic.Int64 // in the time of mono
}

// one takes note of a call.
func (a *arrivals) one() {
	a.all.Add(1)
	a.last.Store(int64(mono.Now()))
}

// quiet waits until no call has come for a while, from now on, or until ctx ends:
// then it says that they still come.
func (a *arrivals) quiet(ctx context.Context, while time.Duration) bool {
	begin := int64(mono.Now())
	for {
		left := while - time.Duration(int64(mono.Now())-max(begin, a.last.Load()))
		if left <= 0 {
			return true
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}
