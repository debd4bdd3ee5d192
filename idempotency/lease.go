package idempotency

import (
	"context"
	"errors"
	"sync"
	"time"
)

// lease renews a turn's claim while the operation runs. There is only a timer
// until a third of the lease is over, which most operations never see.
type lease struct {
	t      *Turn
	ctx    context.Context //nolint:containedctx // ends with the lease
	cancel context.CancelFunc

	mu      sync.Mutex // held while a renewal is under way
	stopped bool
	timer   *time.Timer
}

func keepLease(t *Turn) *lease {
	l := &lease{t: t}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(t.parent))
	l.mu.Lock() // the timer may be faster than its own assignment
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(l.every(), l.renew)
	return l
}

func (l *lease) every() time.Duration { return l.t.c.Lease / 3 }

// renew runs in the timer's goroutine.
func (l *lease) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	err := l.t.g.insist(l.ctx, func(ctx context.Context) error {
		return l.t.g.o.Store.Renew(ctx, l.t.c.ID, l.t.c.Token, l.t.c.Lease)
	})
	if errors.Is(err, ErrLost) {
		l.t.cancel(ErrLost) // two must not work on it
		return
	}
	l.timer.Reset(l.every()) // after trouble too: the lease may still hold
}

// stop returns when no renewal is under way any more.
func (l *lease) stop() {
	l.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.timer.Stop()
}

// linger returns a context that outlives its parent by d. A d below 0 means not
// at all. Its one goroutine starts when the parent ends, and ends with it.
func linger(parent context.Context, d time.Duration) (context.Context, context.CancelCauseFunc) {
	if d < 0 {
		return context.WithCancelCause(parent)
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(context.Cause(parent))
		case <-ctx.Done():
		}
	})
	return ctx, func(cause error) {
		stop()
		cancel(cause)
	}
}

// running knows the operations that this process carries out, so that those who
// wait for one hear at once of its end.
type running struct {
	mu   sync.Mutex
	ends map[ID]chan struct{}
}

func (r *running) begin(id ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ends[id] == nil { // else its former owner here has lost it, and will say so
		r.ends[id] = make(chan struct{})
	}
}

// end returns what is closed at the operation's end, nil if it does not run here.
func (r *running) end(id ID) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ends[id]
}

// ended tells those who wait.
func (r *running) ended(id ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.ends[id]; c != nil {
		close(c)
		delete(r.ends, id)
	}
}
