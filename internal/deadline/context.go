// Package deadline is a context for one attempt that costs nothing until
// somebody waits on it.
package deadline

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/internal/mono"
)

// Context ends with its parent, when its own time has run out, or when it is
// canceled. Unlike [context.WithDeadline] it allocates nothing before somebody
// asks for its Done channel, its time can be stopped without ending it, and it
// can say whether its own clock ended it. Embed it and call Start once.
//
// Children that saw the clock run out read [context.Canceled] from their own
// Err; this context's Err and the cause of both are [context.DeadlineExceeded].
type Context struct {
	// Silent keeps the own time out of Deadline, so that protocols do not tell
	// it to the other side. Set it before Start.
	Silent bool

	parent context.Context
	until  time.Duration // on the monotonic clock, 0 is never

	mu      sync.Mutex
	stopped bool // the clock counts no more
	armed   atomic.Pointer[armed]
	ran     atomic.Bool // the own clock ended it
	ended   atomic.Bool // canceled before anybody waited
}

type armed struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// Start begins the context's life. until is on the clock of mono.Now; 0 leaves
// the time to the parent.
func (c *Context) Start(parent context.Context, until time.Duration) {
	c.parent, c.until = parent, until
}

// StopClock lets the context live on under its parent alone. It reports whether
// it came in time.
func (c *Context) StopClock() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if a := c.armed.Load(); a != nil && a.timer != nil {
		a.timer.Stop()
	}
	return !c.ran.Load()
}

// Cancel ends the context. It may be called more than once.
func (c *Context) Cancel() {
	c.ended.Store(true)
	c.mu.Lock()
	a := c.armed.Load()
	c.mu.Unlock()
	if a != nil {
		if a.timer != nil {
			a.timer.Stop()
		}
		a.cancel(context.Canceled)
	}
}

// TimedOut says whether the own clock, not the parent's, ended the context.
func (c *Context) TimedOut() bool {
	if c.ran.Load() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.overdue()
}

// overdue says whether the clock has run out although no timer has told so.
func (c *Context) overdue() bool {
	return c.until != 0 && !c.stopped && !c.ended.Load() && mono.Now() >= c.until && c.parent.Err() == nil
}

// Deadline returns the earlier of its own and its parent's, or its parent's if
// the context is silent.
func (c *Context) Deadline() (time.Time, bool) {
	at, ok := c.parent.Deadline()
	c.mu.Lock()
	stopped := c.stopped
	c.mu.Unlock()
	if c.until == 0 || stopped || c.Silent {
		return at, ok
	}
	if own := time.Now().Add(c.until - mono.Now()); !ok || own.Before(at) {
		return own, true
	}
	return at, ok
}

// Done implements [context.Context].
func (c *Context) Done() <-chan struct{} { return c.arm().ctx.Done() }

// Err implements [context.Context].
func (c *Context) Err() error {
	if c.TimedOut() {
		return context.DeadlineExceeded
	}
	if a := c.armed.Load(); a != nil {
		return a.ctx.Err()
	}
	if err := c.parent.Err(); err != nil {
		return err
	}
	if c.ended.Load() {
		return context.Canceled
	}
	return nil
}

// Value implements [context.Context]. Once armed it lets the standard library
// find the inner context, so that children need no goroutine to follow it.
func (c *Context) Value(key any) any {
	if a := c.armed.Load(); a != nil {
		return a.ctx.Value(key)
	}
	return c.parent.Value(key)
}

func (c *Context) arm() *armed {
	if a := c.armed.Load(); a != nil {
		return a
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.armed.Load(); a != nil {
		return a
	}
	a := &armed{}
	a.ctx, a.cancel = context.WithCancelCause(c.parent)
	switch {
	case c.ended.Load():
		a.cancel(context.Canceled)
	case c.overdue():
		c.ran.Store(true)
		a.cancel(context.DeadlineExceeded)
	case c.until != 0 && !c.stopped:
		a.timer = time.AfterFunc(c.until-mono.Now(), func() { c.runOut(a) })
	}
	c.armed.Store(a)
	return a
}

func (c *Context) runOut(a *armed) {
	c.mu.Lock()
	if c.stopped || c.ended.Load() || a.ctx.Err() != nil {
		c.mu.Unlock()
		return
	}
	c.ran.Store(true)
	c.mu.Unlock()
	a.cancel(context.DeadlineExceeded)
}
