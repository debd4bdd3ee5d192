package cluster

import (
	"container/list"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/policy"
)

// Quota counts the connections to all instances of a target, whoever in
// this process has made them, and keeps to limits.connections. Those that
// carry nothing make room for those that are needed. It is safe for concurrent
// use.
type Quota struct {
	name    string
	wanted  atomic.Bool // somebody waits for a place
	waiting atomic.Int64

	mu      sync.Mutex
	most    policy.Limit
	pending policy.Limit
	open    int
	queue   list.List // of chan struct{}
	lenders map[*lender]struct{}
}

// lender has connections that may be closed while they carry nothing.
type lender struct {
	reclaim func() bool
	idle    func() int
}

// Enter takes a place for one connection, and waits for it if there is none;
// whoever has a connection that carries nothing is asked to close it. waits is
// called if that does not help; it may be nil. Leave must follow once the
// connection is closed. The error is a [*limit.FullError], with the cause of ctx
// if that has ended.
func (c *Quota) Enter(ctx context.Context, waits func()) error {
	c.mu.Lock()
	name := c.name + " connections"
	most, bounded := c.most.Bound()
	switch {
	case !bounded, c.queue.Len() == 0 && c.open < most:
		c.open++
		c.mu.Unlock()
		return nil
	case most == 0:
		c.mu.Unlock()
		return &limit.FullError{Name: name}
	}
	began := mono.Now()
	in := c.queue.PushBack(make(chan struct{}))
	c.wanted.Store(true)
	lenders := slices.Collect(maps.Keys(c.lenders))
	c.mu.Unlock()
	for _, l := range lenders { // under no lock: they have their own
		if l.reclaim() {
			break
		}
	}
	admitted := in.Value.(chan struct{})
	select {
	case <-admitted:
		return nil
	default:
		if waits != nil {
			waits()
		}
	}
	select {
	case <-admitted:
		return nil
	case <-ctx.Done():
	}
	if !c.withdraw(in) { // let in at the same moment
		c.Leave()
	}
	return fmt.Errorf("%w (%w)", &limit.FullError{Name: name, Limit: most, Waited: mono.Now() - began}, context.Cause(ctx))
}

// Exceed takes a place for a connection that will soon replace another, though
// there may be none: for a moment both are there. Leave must follow.
func (c *Quota) Exceed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
}

// Leave gives the place of a connection back.
func (c *Quota) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	c.admit()
}

// Open returns how many connections there are, those that are being made
// included.
func (c *Quota) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// Idle returns how many of them are known to carry nothing.
func (c *Quota) Idle() (n int) {
	c.mu.Lock()
	lenders := slices.Collect(maps.Keys(c.lenders))
	c.mu.Unlock()
	for _, l := range lenders {
		n += l.idle()
	}
	return n
}

// Wanted says whether somebody waits for a place. Whoever has a connection that
// carries nothing should then close it.
func (c *Quota) Wanted() bool { return c.wanted.Load() }

// Full says that there may be no more connections.
func (c *Quota) Full() *limit.FullError {
	c.mu.Lock()
	defer c.mu.Unlock()
	most, _ := c.most.Bound()
	return &limit.FullError{Name: c.name + " connections", Limit: most}
}

// Lend has reclaim called when a place is wanted: it closes a connection that
// carries nothing, if there is one, and says whether there was. idle says how many
// there are. Both are called under no lock, until stop.
func (c *Quota) Lend(reclaim func() bool, idle func() int) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lenders == nil {
		c.lenders = make(map[*lender]struct{})
	}
	l := &lender{reclaim, idle}
	c.lenders[l] = struct{}{}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.lenders, l)
	}
}

// Queue counts a call in that has to wait because there may be no more
// connections, as far as limits.pending allows. Dequeue must follow.
func (c *Quota) Queue() error {
	c.mu.Lock()
	most, bounded := c.pending.Bound()
	name := c.name + " connections"
	c.mu.Unlock()
	if n := c.waiting.Add(1); bounded && n > int64(most) {
		c.waiting.Add(-1)
		return &limit.FullError{Name: name, Limit: most}
	}
	return nil
}

// Dequeue counts a call out.
func (c *Quota) Dequeue() { c.waiting.Add(-1) }

// bound puts limits in force. Connections that there are too many of are not
// closed.
func (c *Quota) bound(name string, l policy.Limits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name, c.most, c.pending = name, l.Connections, l.Pending
	c.admit()
}

func (c *Quota) admit() {
	most, bounded := c.most.Bound()
	for c.queue.Len() > 0 && (!bounded || c.open < most) {
		c.open++
		close(c.queue.Remove(c.queue.Front()).(chan struct{}))
	}
	c.wanted.Store(c.queue.Len() > 0)
}

// withdraw takes one who waits out of the queue, unless it was let in.
func (c *Quota) withdraw(in *list.Element) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-in.Value.(chan struct{}):
		return false
	default:
		c.queue.Remove(in)
		c.wanted.Store(c.queue.Len() > 0)
		return true
	}
}
