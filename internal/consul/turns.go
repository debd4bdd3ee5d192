package consul

import (
	"context"
	"errors"
	"time"
)

// An agent takes so many connections from one address, by default, from all
// processes of a node together: see limits.http_max_conns_per_client. Who has more
// is refused, and with it everybody else on the node. Over HTTP/1.1 a query that
// blocks has a connection to itself, so only so many may block at once.
const (
	maxConns = 200
	// blocking is how many queries may block at once: half, for we are not alone.
	blocking = maxConns / 2
	// prompt is how many may be under way beside them that are answered at once:
	// nobody's first answer waits for others' turns.
	prompt = maxConns / 10
	// turn is how long a query blocks when there are more than can at once.
	turn = time.Second
)

// turns shares the connections out. The zero value does not bound anything.
type turns struct {
	blocking, prompt chan struct{}
	room             context.Context // has ended while there are too many watches
	full             context.CancelFunc
}

func newTurns() turns {
	t := turns{blocking: make(chan struct{}, blocking), prompt: make(chan struct{}, prompt)}
	t.room, t.full = context.WithCancel(context.Background())
	return t
}

// count is told how many watches there are. Queries that block when there is no
// more room end, and take turns from then on.
func (t *turns) count(watches int) {
	switch {
	case t.full == nil:
	case watches > blocking:
		t.full()
	case watches <= blocking*3/4 && t.room.Err() != nil: // not to and fro at the edge
		t.room, t.full = context.WithCancel(context.Background())
	}
}

// errTurn ends a query that has to make room for others.
var errTurn = errors.New("it is others' turn")

// enter waits for a place, which is given back with leave.
func enter(ctx context.Context, places chan struct{}) (leave func(), err error) {
	if places == nil {
		return func() {}, nil
	}
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// room returns a context that ends when queries must not block for long, and has
// if they must not already; nil if that never happens.
func (c *Client) room() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turns.room
}
