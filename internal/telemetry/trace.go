package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
)

// Save writes the trace of ctx down as words.
func (t *Telemetry) Save(ctx context.Context) map[string]string {
	words := propagation.MapCarrier{}
	t.propagator.Inject(ctx, words)
	return words
}

// Restore returns ctx as a part of a trace that Save has written down.
func (t *Telemetry) Restore(ctx context.Context, words map[string]string) context.Context {
	return t.propagator.Extract(ctx, propagation.MapCarrier(words))
}
