package inbound

import (
	"context"
	"time"

	"github.com/innermesh/innermesh/call"
)

// Identifier finds out who calls.
//
// Identify is called once for each call, before anything else, on the goroutine
// that serves it, and must be quick: what is shed has paid for it. An error turns
// the call away, as [Unauthenticated] unless it is a [*RefusedError] itself.
// Somebody unknown is no error: whether that may call is the authorizer's
// business.
type Identifier interface {
	Identify(ctx context.Context, a *Arrival) (Peer, error)
}

// Authorizer says whether a call may be carried out.
//
// Authorize is called once for each call that was let in. An error means that it
// can not be known, and turns the call away like a refusal. What needs the network
// waits within ctx.
type Authorizer interface {
	Authorize(ctx context.Context, a *Arrival) (Decision, error)
}

// Decision is an authorizer's answer. The zero Decision refuses.
type Decision struct {
	// Allowed says what the rules say.
	Allowed bool
	// DryRun says that a refusal is only to be told.
	DryRun bool
	// Unauthenticated says that the call is refused because it does not say who
	// calls, so that it makes sense to come again with a token.
	Unauthenticated bool
	// Why tells on what the decision rests, for logs and the audit. The caller is
	// not told. It must hold no secrets.
	Why string
}

// Auditor hears how every call has ended, those that were turned away included.
//
// Audit is called once for each call, on its goroutine: it must be quick, and must
// not keep the arrival.
type Auditor interface {
	Audit(ctx context.Context, a *Arrival, e Ending)
}

// Ending is how a call has ended.
type Ending struct {
	// Status is the HTTP status or the gRPC code that the caller was told.
	Status int
	// Reason is the classification of that.
	Reason call.Reason
	// Route is the pattern that the path of an HTTP request has matched, empty if
	// that is not known.
	Route string
	// Took is how long it took. The path fills it in.
	Took time.Duration
	// Decision is the authorizer's; zero if it was not asked. The path fills it in.
	Decision Decision
	// Refused says why the call was turned away, nil if it was served.
	Refused *RefusedError
	// Panicked says that the handler has panicked.
	Panicked bool
}
