package idempotency

import (
	"context"
	"errors"
	"time"
)

// Store remembers operations. Package idempotency/idempotencytest is the
// contract as tests; every store passes it. A store is used from many goroutines
// at once, each method is atomic, and each returns soon after its context ends.
//
// An operation that the store knows is running, or done. It is forgotten when
// its time (Claim.TTL, then the ttl of Complete) is over. A running operation
// whose lease has run out has lapsed: the next claim takes it over.
type Store interface {
	// Begin claims an operation, or says why it can not be claimed. To begin
	// again with the same token is to begin once: a store's client may retry.
	// Errors: ErrFull, ErrCorrupt, or that the store could not be asked.
	Begin(ctx context.Context, c Claim) (Entry, error)
	// Renew puts off the end of the lease, to lease from now; the operation is
	// remembered at least as long. ErrLost says that the operation is not the
	// token's any more, or is done.
	Renew(ctx context.Context, id ID, t Token, lease time.Duration) error
	// Complete keeps the outcome for ttl from now. ErrLost says that the
	// operation is not the token's any more; a lease that has run out alone is no
	// reason. ErrFull says that the outcome does not fit: the operation still
	// runs, and the owner may complete it with less. To complete again with the
	// same token is to complete once.
	Complete(ctx context.Context, id ID, t Token, o Outcome, ttl time.Duration) error
	// Abandon forgets an operation that had no effect, so that the next claim is
	// the first. ErrLost says that somebody else has taken it over, or that it is
	// done; what is not there is abandoned already.
	Abandon(ctx context.Context, id ID, t Token) error
}

// What stores say, for others to decide upon.
var (
	// ErrLost: the lease had run out, and another owner has the operation now.
	ErrLost = errors.New("the operation has another owner now")
	// ErrFull: the store has no room, and nothing in it may be forgotten.
	ErrFull = errors.New("the idempotency store is full")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the idempotency store is closed")
)

// Claim is what somebody who wants to carry out an operation says about it.
type Claim struct {
	// ID says which operation.
	ID ID
	// Fingerprint is that of the request.
	Fingerprint Fingerprint
	// Token is the claimant's own.
	Token Token
	// Lease is for how long the claim holds unless it is renewed.
	Lease time.Duration
	// TTL is for how long the operation is remembered if its owner never says
	// how it ended. It is longer than Lease.
	TTL time.Duration
}

// Entry is what a store says to a claim.
type Entry struct {
	State State
	// Owner counts the owners of the operation, the claimant included: more than
	// 1 means that earlier ones went away without a word. Only in First.
	Owner int
	// Outcome is how the operation ended. Only in Done.
	Outcome Outcome
}

// State is how an operation stands.
type State uint8

const (
	// First: the claim holds, and its owner carries the operation out.
	First State = iota + 1
	// Running: somebody else does.
	Running
	// Done: it was carried out.
	Done
	// Mismatch: the key was given to another request, by its fingerprint.
	Mismatch
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case First:
		return "first"
	case Running:
		return "running"
	case Done:
		return "done"
	case Mismatch:
		return "mismatch"
	default:
		return "invalid"
	}
}
