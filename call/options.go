package call

import (
	"context"
	"time"
)

// Options is what a caller says about one call, over everything configured.
// The zero value says nothing.
type Options struct {
	// Idempotent marks the call as safe to repeat, whatever its method.
	Idempotent bool
	// Key is the idempotency key that the call is sent with: 1 to 255 printable
	// ASCII characters, the same when the program makes the call again. Its
	// receiver carries it out once (package idempotency does), so it is safe to
	// repeat. A key that the request carries already counts instead.
	Key string
	// Keyed has a key minted for the call, if it has none: the same for all its
	// attempts and redirects. It is for receivers that know such keys; then any
	// call is safe to repeat.
	Keyed bool
	// Affinity is what the call belongs to, such as a user or a session: where the
	// policy says so, calls with the same value go to the same instance or the same
	// version, and share a limit. It is not sent.
	Affinity string
	// Attempts bounds the tries of this call, the first one included. Default:
	// the policy's. 1 means no retry.
	Attempts int
	// Priority says how much the call matters where some are shed (see
	// limits.adaptive): "critical", "default", "degraded" or "background". The
	// callee is told. Default: what the header innermesh-priority says.
	Priority string
	// Timeout bounds the call. Default: the policy's; a negative value leaves
	// the call to the context's deadline alone.
	Timeout time.Duration
}

type optionsKey struct{}

// With returns a context whose calls go out with these options. Options of an
// outer With are replaced as a whole. A context with a Key is for one call alone:
// another one to the same place would be answered as its repeat.
func With(ctx context.Context, o Options) context.Context {
	return context.WithValue(ctx, optionsKey{}, o)
}

// OptionsFrom returns what With put into the context, else the zero Options.
func OptionsFrom(ctx context.Context) Options {
	o, _ := ctx.Value(optionsKey{}).(Options)
	return o
}
