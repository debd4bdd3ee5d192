package saga

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// What logs and coordinators decide. Errors name the saga besides.
var (
	// ErrNotFound: there is no such saga; it may have ended long ago.
	ErrNotFound = errors.New("no such saga")
	// ErrExists: there is a saga of this ID.
	ErrExists = errors.New("there is a saga of this ID")
	// ErrFenced: somebody else owns the saga now. What is done in its name ends.
	ErrFenced = errors.New("the saga has another owner now")
	// ErrClosed: the log or coordinator is closed.
	ErrClosed = errors.New("closed")
	// ErrUnknown: no definition for the saga is registered here.
	ErrUnknown = errors.New("unknown definition")
	// ErrChanged: the definition was changed under the saga.
	ErrChanged = errors.New("the definition has changed")
	// ErrDifferent: a saga of this ID was started with another definition or state.
	ErrDifferent = errors.New("a saga of this ID was started with something else")
	// ErrBusy: somebody is carrying the saga out at the moment.
	ErrBusy = errors.New("the saga is being carried out")
	// ErrNotStuck: the saga is not stuck, so there is nothing to decide.
	ErrNotStuck = errors.New("the saga is not stuck")
	// ErrConflict: two steps of a group have changed the same field of the state.
	ErrConflict = errors.New("another step of the group has changed the same field")
)

// Log keeps sagas. It is the contract of the engines; package sagatest has its
// tests. All methods are safe for concurrent use, also by several processes where
// the engine is made for many machines; leases go by the engine's clock. What
// Create, Claim, Save and Expire have changed survives the end of the process at
// any point after they return nil.
type Log interface {
	// Create keeps a new saga. With a lease its owner is r.Owner, without one it
	// is free. Its token is 1, whatever r says. Errors: ErrExists, or a fault of
	// the engine, after which it may have been kept all the same.
	Create(ctx context.Context, r Record, lease time.Duration) error

	// Claim gives sagas that nobody owns to the caller, those first that have
	// been due the longest, and raises their tokens; none is no error.
	Claim(ctx context.Context, c Claim) ([]Record, error)

	// Save replaces a saga if r.Token is still that of its owner, else it fails
	// with ErrFenced; an owner whose lease is over may save as long as nobody has
	// claimed the saga. The owner keeps it for lease from now; 0 sets it free.
	// Who saves the same twice has saved once.
	Save(ctx context.Context, r Record, lease time.Duration) error

	// List returns sagas in the order of their IDs, bytewise, a page at a time. Of
	// those that change meanwhile it may show either state.
	List(ctx context.Context, q Query) (Page, error)

	// Expire forgets sagas that have ended before a time, up to limit of them,
	// and says how many.
	Expire(ctx context.Context, before time.Time, limit int) (int, error)
}

// Claim asks for sagas to carry out.
type Claim struct {
	// Owner is who asks, to be seen by others. Required.
	Owner string
	// Lease is for how long they are the owner's. Required.
	Lease time.Duration
	// Limit is how many may be given. Default 1.
	Limit int
	// Types are the only ones that are given. Default: all.
	Types []Type
	// Statuses are the only ones that are given; those of an end can not be.
	// Default: Running, Compensating.
	Statuses []Status
	// ID asks for one saga, whenever it is due.
	ID string
}

// Prepare checks the claim and fills the defaults in, for engines.
func (c *Claim) Prepare() error {
	if c.Owner == "" || c.Lease <= 0 {
		return fmt.Errorf("claim sagas as %q for %v: want an owner and a time", c.Owner, c.Lease)
	}
	if len(c.Statuses) == 0 {
		c.Statuses = []Status{Running, Compensating}
	}
	if slices.ContainsFunc(c.Statuses, Status.Ended) {
		return fmt.Errorf("claim sagas that are %v: those that have ended are nobody's", c.Statuses)
	}
	c.Limit = max(c.Limit, 1)
	return nil
}

// Match says whether a saga is one that a prepared claim asks for, now. It is for
// engines.
func (c *Claim) Match(r *Record, now time.Time) bool {
	return !r.Leased(now) && slices.Contains(c.Statuses, r.Status) && among(c.Types, r.Type) &&
		(c.ID == r.ID || c.ID == "" && !r.NotBefore.After(now))
}

// Sign writes a prepared claim onto a saga, for engines.
func (c *Claim) Sign(r *Record, now time.Time) {
	r.Token++
	r.Owner, r.LeasedUntil = c.Owner, now.Add(c.Lease)
}

// Lease writes a lease onto a saga that is created or saved, for engines. What has
// ended is free.
func (r *Record) Lease(now time.Time, lease time.Duration) {
	if lease <= 0 || r.Status.Ended() {
		r.Owner, r.LeasedUntil = "", time.Time{}
		return
	}
	r.LeasedUntil = now.Add(lease)
}

// Query asks for a page of sagas. Every field that is set must match.
type Query struct {
	IDs      []string
	Names    []string
	Statuses []Status
	// Except are types that are left out.
	Except []Type
	// After is the Next of the page before. Default: from the beginning.
	After string
	// Limit is how many sagas the page may have. Default 100.
	Limit int
}

// Match says whether a saga is meant. It is for engines.
func (q *Query) Match(r *Record) bool {
	return r.ID > q.After && among(q.IDs, r.ID) && among(q.Names, r.Name) && among(q.Statuses, r.Status) && !slices.Contains(q.Except, r.Type)
}

// Most returns how many sagas the page may have. It is for engines.
func (q *Query) Most() int {
	if q.Limit <= 0 {
		return 100
	}
	return q.Limit
}

// Page is an answer to a [Query].
type Page struct {
	Sagas []Record
	// Next is where the next page begins, empty if this was the last one.
	Next string
}

// Fit says whether a log may keep the record: it is valid, and there is still
// time. It is for engines.
func Fit(ctx context.Context, r *Record) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("keep saga %.220s: %w", r.ID, err)
	}
	if err := r.Validate(); err != nil {
		return fmt.Errorf("keep saga %.220s: %w", r.ID, err)
	}
	return nil
}

func among[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }
