package deadletter

import (
	"context"
	"time"
)

// Mark says about one call that it must not be lost. The zero value does.
type Mark struct {
	// Off says the opposite, over everything configured.
	Off bool
	// Keep is how long the letter is of use. Default: as configured.
	Keep time.Duration
	// Labels are added to those configured.
	Labels map[string]string
}

type markKey struct{}

// With returns a context whose calls are marked. An outer mark is replaced as a
// whole.
func With(ctx context.Context, m Mark) context.Context { return context.WithValue(ctx, markKey{}, m) }

// MarkFrom returns the mark of the context's calls, and whether there is one.
func MarkFrom(ctx context.Context) (m Mark, ok bool) {
	m, ok = ctx.Value(markKey{}).(Mark)
	return m, ok
}
