package idempotency

import (
	"context"
	"errors"
	"fmt"
)

// Turn is one request that was let in. It belongs to one goroutine.
type Turn struct {
	g      *Guard
	r      Request
	c      Claim
	parent context.Context
	replay *Outcome

	ctx    context.Context //nolint:containedctx // for the length of the turn
	cancel context.CancelCauseFunc
	owner  int // 0: unguarded, or a replay
	lease  *lease
	ended  bool
}

func newTurn(ctx context.Context, g *Guard, r Request, c Claim) *Turn {
	return &Turn{g: g, r: r, c: c, parent: ctx}
}

// own makes it the turn of an owner, whose lease is kept until the turn ends.
func (t *Turn) own(owner int) {
	t.owner = owner
	t.g.running.begin(t.c.ID)
	t.Context()
	t.lease = keepLease(t)
}

// Replay returns the outcome of the first, nil if this turn is the first. It is
// not to be modified.
func (t *Turn) Replay() *Outcome { return t.replay }

// Owner says how many have owned the operation, this turn included: more than 1
// means that it was begun before and its outcome is unknown. It is 0 if nobody
// guards the operation, since the guard fails open.
func (t *Turn) Owner() int { return t.owner }

// Context returns the context to carry out the operation with. It knows the key
// ([KeyFrom]) and outlives the caller's by Options.Linger; it ends with the turn,
// and with [ErrLost] as its cause when another has taken the operation over.
func (t *Turn) Context() context.Context {
	if t.ctx == nil {
		t.ctx, t.cancel = linger(WithKey(t.parent, t.r.Key), t.g.o.Linger)
	}
	return t.ctx
}

// Complete ends the turn with an outcome, which is kept if Options.Keep says so.
// ErrLost says that another had taken the operation over: its outcome counts,
// and this one should not be told. Any other error says that the outcome could
// not be kept; it is true nevertheless, and the guard has told about it.
func (t *Turn) Complete(o Outcome) error {
	if o.Missing == Nothing && o.Size() > t.g.o.MaxResponse {
		o = o.WithoutBody()
	}
	if !t.g.o.Keep(t.r.Protocol, o.Status) {
		t.g.stats.dropped.Add(1)
		return t.end(t.abandon)
	}
	return t.keep(o)
}

// Abandon ends the turn of an operation that has had no effect: the next repeat
// is the first. It does nothing if the turn has ended.
func (t *Turn) Abandon() { _ = t.end(t.abandon) }

func (t *Turn) keep(o Outcome) error {
	return t.end(func(ctx context.Context) error {
		err := t.g.o.Store.Complete(ctx, t.c.ID, t.c.Token, o, t.g.o.TTL)
		if errors.Is(err, ErrFull) && o.Missing == Nothing {
			err = t.g.o.Store.Complete(ctx, t.c.ID, t.c.Token, o.WithoutBody(), t.g.o.TTL)
		}
		return err
	})
}

func (t *Turn) abandon(ctx context.Context) error {
	return t.g.o.Store.Abandon(ctx, t.c.ID, t.c.Token)
}

// end ends the turn once. The store is told although the caller may have gone.
func (t *Turn) end(tell func(context.Context) error) error {
	if t.ended {
		return nil
	}
	t.ended = true
	if t.cancel != nil {
		defer t.cancel(context.Canceled)
	}
	if t.owner == 0 {
		return nil
	}
	t.lease.stop()
	defer t.g.running.ended(t.c.ID)
	err := t.g.insist(context.WithoutCancel(t.parent), tell)
	switch {
	case errors.Is(err, ErrLost):
		t.g.stats.lost.Add(1)
		return err
	case err != nil:
		t.g.stats.unkept.Add(1)
		return fmt.Errorf("keep the outcome of an operation: %w", err)
	}
	return nil
}
