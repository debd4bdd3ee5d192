package saga

import (
	"context"
	"fmt"
	"time"
)

// Info is a saga as people look at it: without its Key and its Trace.
type Info struct {
	Record

	// Parked says why this program can not carry the saga out; another one may.
	// Empty: it can, or there is nothing to do.
	Parked string `json:"parked,omitzero"`
}

// Get returns a saga, or [ErrNotFound].
func (c *Coordinator) Get(ctx context.Context, id string) (Info, error) {
	r, err := c.get(ctx, id)
	if err != nil {
		return Info{}, fmt.Errorf("get saga %.220q: %w", id, err)
	}
	return c.info(r), nil
}

// List returns sagas without their state, in the order of their IDs, and where
// the next page begins: "" if this was the last one.
func (c *Coordinator) List(ctx context.Context, q Query) (sagas []Info, next string, err error) {
	page, err := c.o.Log.List(ctx, q)
	if err != nil {
		return nil, "", fmt.Errorf("list sagas: %w", err)
	}
	for _, r := range page.Sagas {
		r.State = nil
		for i := range r.Steps {
			r.Steps[i].Own = nil
		}
		sagas = append(sagas, c.info(r))
	}
	return sagas, page.Next, nil
}

// Wait waits until a saga has ended or is stuck or parked, and returns it.
func (c *Coordinator) Wait(ctx context.Context, id string) (Info, error) {
	for {
		over := make(chan struct{})
		c.mu.Lock()
		c.waiters[id] = append(c.waiters[id], over)
		c.mu.Unlock()
		i, err := c.Get(ctx, id)
		if err != nil || i.Status.Ended() || i.Status == Stuck || i.Parked != "" {
			c.forget(id, over)
			return i, err
		}
		timer := time.NewTimer(c.o.Poll) // others may carry it out
		select {
		case <-over:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			c.forget(id, over)
			return i, fmt.Errorf("wait for saga %s: %w", id, context.Cause(ctx))
		}
		timer.Stop()
		c.forget(id, over)
	}
}

// forget takes a waiter back.
func (c *Coordinator) forget(id string, over chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var rest []chan struct{}
	for _, w := range c.waiters[id] {
		if w != over {
			rest = append(rest, w)
		}
	}
	if c.waiters[id] = rest; len(rest) == 0 {
		delete(c.waiters, id)
	}
}

// release wakes those who wait for a saga; it is called under mu.
func (c *Coordinator) release(id string) {
	for _, w := range c.waiters[id] {
		close(w)
	}
	delete(c.waiters, id)
}

func (c *Coordinator) get(ctx context.Context, id string) (Record, error) {
	page, err := c.o.Log.List(ctx, Query{IDs: []string{id}, Limit: 1})
	if err != nil {
		return Record{}, err
	}
	if len(page.Sagas) == 0 {
		return Record{}, ErrNotFound
	}
	return page.Sagas[0], nil
}

func (c *Coordinator) info(r Record) Info {
	r.Key, r.Trace = "", nil
	i := Info{Record: r}
	if r.Status.Ended() {
		return i
	}
	if err := r.differs(c.types); err != nil {
		i.Parked = err.Error()
	}
	return i
}
