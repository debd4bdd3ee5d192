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
	// Follower says that nothing which waits on the context needs Cancel to
	// end it. If the parent ends before the own time anyway, or there is none,
	// those who wait are then given to the parent: for them Cancel does
	// nothing. Set it before Start.
	Follower bool

	// Clock keeps the time, if it is set. Else the context has a timer of its
	// own. Set it before Start.
	Clock *Clock

	parent context.Context
	until  time.Duration // on the monotonic clock, 0 is never

	stopped atomic.Bool // the clock counts no more
	ran     atomic.Bool // the own clock ended it
	ended   atomic.Bool // canceled
	armed   atomic.Bool // inner is there

	listed        bool     // by a hand of the clock, which guards it
	before, after *Context // in the hand's list

	mu     sync.Mutex
	told   int64                   // what Deadline said of the own time, since 1970
	inner  context.Context         // what others wait on
	cancel context.CancelCauseFunc // nil if inner is the parent
	timer  *time.Timer             // nil if the clock keeps the time, or the parent
	kept   bool                    // by the clock
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
	c.stopped.Store(true)
	c.stopTimer()
	return !c.ran.Load()
}

// Cancel ends the context. It may be called more than once.
func (c *Context) Cancel() {
	c.ended.Store(true)
	c.mu.Lock()
	c.stopTimer()
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel(context.Canceled)
	}
}

// TimedOut says whether the own clock, not the parent's, ended the context.
func (c *Context) TimedOut() bool { return c.ran.Load() || c.overdue() }

// overdue says whether the clock has run out although no timer has told so.
func (c *Context) overdue() bool {
	return c.until != 0 && !c.stopped.Load() && !c.ended.Load() && mono.Now() >= c.until && c.parent.Err() == nil
}

// Deadline returns the earlier of its own and its parent's, or its parent's if
// the context is silent.
//
// Its own it rounds up to whole milliseconds from now: gRPC writes the time
// left into a header, and a value that never comes again pushes all others out
// of the tables by which both sides compress headers.
func (c *Context) Deadline() (time.Time, bool) {
	at, ok := c.parent.Deadline()
	if c.until == 0 || c.Silent || c.stopped.Load() {
		return at, ok
	}
	if own := c.tell(); !ok || own.Before(at) {
		return own, true
	}
	return at, ok
}

// tell makes up its mind about its own deadline, once: a context may not change it.
func (c *Context) tell() time.Time {
	const grain = time.Millisecond
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told == 0 {
		left := c.until - mono.Now() + grain - 1
		c.told = time.Now().Add(left - left%grain).UnixNano()
	}
	return time.Unix(0, c.told)
}

// Done implements [context.Context].
func (c *Context) Done() <-chan struct{} {
	if !c.armed.Load() {
		c.arm()
	}
	return c.inner.Done()
}

// Err implements [context.Context].
func (c *Context) Err() error {
	if c.TimedOut() {
		return context.DeadlineExceeded
	}
	if c.armed.Load() {
		return c.inner.Err()
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
	if c.armed.Load() {
		return c.inner.Value(key)
	}
	return c.parent.Value(key)
}

func (c *Context) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed.Load() {
		return
	}
	defer c.armed.Store(true)
	timed := c.until != 0 && !c.stopped.Load() && !c.parentFirst()
	if c.Follower && !timed && !c.ended.Load() {
		c.inner = c.parent
		return
	}
	c.inner, c.cancel = context.WithCancelCause(c.parent)
	switch {
	case c.ended.Load():
		c.cancel(context.Canceled)
	case c.overdue():
		c.ran.Store(true)
		c.cancel(context.DeadlineExceeded)
	case timed:
		c.startTimer()
	}
}

func (c *Context) startTimer() {
	if c.kept = c.Clock != nil && c.Clock.of(c).add(c); !c.kept {
		c.timer = time.AfterFunc(c.until-mono.Now(), c.runOut)
	}
}

func (c *Context) stopTimer() {
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.kept {
		c.kept = false
		c.Clock.of(c).remove(c)
	}
}

// parentFirst says whether the parent will have ended before the own time is over.
func (c *Context) parentFirst() bool {
	at, ok := c.parent.Deadline()
	return ok && time.Until(at) <= c.until-mono.Now() && c.parent.Done() != nil
}

func (c *Context) runOut() {
	c.mu.Lock()
	if c.stopped.Load() || c.ended.Load() || c.inner.Err() != nil {
		c.mu.Unlock()
		return
	}
	c.ran.Store(true)
	c.mu.Unlock()
	c.cancel(context.DeadlineExceeded)
}
