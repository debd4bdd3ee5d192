package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// What a sink decides. Its errors name the letter besides.
var (
	// ErrNotFound: there is no such letter; it may have been delivered.
	ErrNotFound = errors.New("no such letter")
	// ErrExists: a letter of this ID is kept already.
	ErrExists = errors.New("a letter of this ID is kept already")
	// ErrStale: the letter has changed since it was read, or somebody else has
	// claimed it.
	ErrStale = errors.New("the letter has changed meanwhile")
	// ErrFull: no room for another letter.
	ErrFull = errors.New("the sink is full: deliver, discard or expire letters, or raise its limit")
	// ErrClosed: the sink or outbox is closed.
	ErrClosed = errors.New("closed")
)

// Sink keeps letters. It is the contract of the engines; package deadlettertest
// has its tests. All methods are safe for concurrent use, also by several
// processes where the engine is made for many machines.
//
// What a program does with a sink, beyond these, are the functions of this
// package that take one: [Get], [Discard], [Revive], [Expire], [Export], [Import].
type Sink interface {
	// Put keeps a new letter. When it returns nil the letter survives the end of
	// the process at any point. Errors: ErrExists, ErrFull, or a fault of the
	// engine, after which the letter may have been kept all the same. The letter
	// must be valid; its lease is not kept.
	Put(ctx context.Context, l Letter) error

	// List returns letters in the order of their IDs, a page at a time. Of
	// letters that change meanwhile it may show either state; none that stays is
	// left out or shown twice.
	List(ctx context.Context, q Query) (Page, error)

	// Claim leases letters that are due to the caller, those that have been due
	// the longest first; none is no error. Until the lease ends nobody else is
	// given them. The claimant ends it with Update or Remove on what it was
	// given. A lease ends by itself, so that letters of a claimant who died are
	// given out again.
	Claim(ctx context.Context, c Claim) ([]Letter, error)

	// Update replaces a letter, and is as durable as Put. Its Revision must be
	// the one that List, Claim or the last Update has returned; else it fails with
	// ErrStale, or ErrNotFound if the letter is gone. It returns the letter with
	// its new revision. The lease is as the letter says: none, to end it.
	Update(ctx context.Context, l Letter) (Letter, error)

	// Remove deletes a letter for good, under the same conditions as Update.
	Remove(ctx context.Context, l Letter) error
}

// Filter says which letters are meant. Every field that is set must match; the
// zero value matches all.
type Filter struct {
	IDs    []string
	States []State
	// Protocols, Services, Methods and Reasons match one of the words given.
	Protocols []string
	Services  []string
	Methods   []string
	Reasons   []string
	// Labels must all be there with these values.
	Labels map[string]string
	// After and Before bound when the letter was made: at After or later, before
	// Before.
	After, Before time.Time
	// Expired matches letters that are of no use any more at this time.
	Expired time.Time
}

// Match says whether the letter is meant.
func (f *Filter) Match(l *Letter) bool {
	if !among(f.IDs, l.ID) || !among(f.States, l.State) || !among(f.Protocols, l.Protocol) || !among(f.Services, l.Service) ||
		!among(f.Methods, l.Method) || !among(f.Reasons, l.Reason) {
		return false
	}
	for k, v := range f.Labels {
		if have, ok := l.Labels[k]; !ok || have != v {
			return false
		}
	}
	if !f.Expired.IsZero() && !l.Expired(f.Expired) {
		return false
	}
	return (f.After.IsZero() || !l.Created.Before(f.After)) && (f.Before.IsZero() || l.Created.Before(f.Before))
}

func among[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

// Query asks for a page of letters.
type Query struct {
	Filter Filter
	// Cursor is the Next of the page before. Default: from the beginning.
	Cursor string
	// Limit is how many letters the page may have. Default 100.
	Limit int
}

// Page is an answer to a [Query].
type Page struct {
	Letters []Letter
	// Next is where the next page begins, empty if this was the last one.
	Next string
}

// Claim asks for letters to work on.
type Claim struct {
	// Filter says which; without States it means Waiting.
	Filter Filter
	// Except names services whose letters are left alone.
	Except []string
	// Owner is who asks, to be seen by others. Required.
	Owner string
	// Lease is how long the letters are the owner's. Required.
	Lease time.Duration
	// Limit is how many letters may be given. Default 1.
	Limit int
	// Now is the time. Default: the clock's. On many machines, clocks must agree
	// to well within a lease.
	Now time.Time
}

// Prepare checks the claim and fills the defaults in, for engines.
func (c *Claim) Prepare() error {
	if c.Owner == "" || c.Lease <= 0 {
		return fmt.Errorf("claim letters as %q for %v: want an owner and a time", c.Owner, c.Lease)
	}
	if len(c.Filter.States) == 0 {
		c.Filter.States = []State{Waiting}
	}
	if c.Limit <= 0 {
		c.Limit = 1
	}
	if c.Now.IsZero() {
		c.Now = time.Now()
	}
	return nil
}

// Sign writes a prepared claim onto a letter, for engines.
func (c *Claim) Sign(l *Letter) { l.Owner, l.LeasedUntil = c.Owner, c.Now.Add(c.Lease).UTC().Round(0) }

// Fit says whether a sink may keep the letter: it is valid, and there is still
// time. It is for engines.
func Fit(ctx context.Context, l *Letter) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("keep letter %.80q: %w", l.ID, err)
	}
	if err := l.Validate(); err != nil {
		return fmt.Errorf("keep letter %.80q: %w", l.ID, err)
	}
	return nil
}
