package saga

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Retry sets a stuck saga going again, the way it was going, with all its
// attempts. Keys stay as they were: a receiver that has kept an answer for one
// gives it again. Errors: [ErrNotFound], [ErrNotStuck], [ErrBusy].
func (c *Coordinator) Retry(ctx context.Context, id string) error {
	r, err := c.seize(ctx, id, Stuck)
	if err != nil {
		return fmt.Errorf("retry saga %.220q: %w", id, err)
	}
	r.Status = Running
	if r.Back {
		r.Status = Compensating
	}
	for i := range r.Steps {
		switch st := &r.Steps[i]; {
		case st.Status == Failed && !r.Back:
			st.Status, st.Attempts, st.Next = Begun, 0, time.Time{}
		case st.Status == Undoing:
			st.Undos, st.Next = 0, time.Time{}
		}
	}
	if !r.Back {
		r.Error = ""
	}
	r.NotBefore = time.Now().UTC().Round(0)
	if err := c.put(ctx, r); err != nil {
		return fmt.Errorf("retry saga %s: %w", id, err)
	}
	c.look()
	return nil
}

// Resolve ends a saga by hand: one that is stuck, or parked because no program
// can carry it out. Its end is Completed or Compensated, as you have made it; the
// note says who has done what. No step is called. Errors: [ErrNotFound],
// [ErrNotStuck], [ErrBusy].
func (c *Coordinator) Resolve(ctx context.Context, id string, as Status, note string) error {
	if !as.Ended() {
		return fmt.Errorf("resolve saga %.220q as %q: want %q or %q", id, as, Completed, Compensated)
	}
	r, err := c.seize(ctx, id, Stuck, Running, Compensating)
	if err != nil {
		return fmt.Errorf("resolve saga %.220q: %w", id, err)
	}
	if r.Status != Stuck && c.types[r.Type] != nil {
		err := errors.Join(ErrNotStuck, c.put(ctx, r))
		c.look()
		return fmt.Errorf("resolve saga %s: %w", id, err)
	}
	r.Status, r.Note, r.NotBefore = as, clip(note), time.Time{}
	r.Ended = time.Now().UTC().Round(0)
	if err := c.put(ctx, r); err != nil {
		return fmt.Errorf("resolve saga %s: %w", id, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.release(id)
	return nil
}

// seize makes a saga the caller's, or says why it can not be.
func (c *Coordinator) seize(ctx context.Context, id string, statuses ...Status) (Record, error) {
	if id == "" {
		return Record{}, ErrNotFound
	}
	got, err := c.o.Log.Claim(ctx, Claim{Owner: c.o.Owner + " by hand", Lease: c.o.Lease, ID: id, Statuses: statuses})
	if err != nil {
		return Record{}, err
	}
	if len(got) == 1 {
		return got[0], nil
	}
	r, err := c.get(ctx, id)
	switch {
	case err != nil:
		return r, err
	case r.Leased(time.Now()):
		return r, ErrBusy
	default:
		return r, fmt.Errorf("%w: it is %s", ErrNotStuck, r.Status)
	}
}

func (c *Coordinator) put(ctx context.Context, r Record) error {
	r.Updated = time.Now().UTC().Round(0)
	return c.o.Log.Save(ctx, r, 0)
}

// look makes the claimer claim, now.
func (c *Coordinator) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hungry = true
	c.nudge()
}
