package mesh

import (
	"context"

	"github.com/innermesh/innermesh/internal/telemetry"
)

// Trace takes a trace along where contexts do not go: to a store, a queue, another
// day. It writes what the propagator of [TelemetryOptions] does. Safe for
// concurrent use.
type Trace struct{ t *telemetry.Telemetry }

// Trace returns what takes traces along, such as to the steps of sagas.
func (m *Mesh) Trace() Trace { return Trace{m.tel} }

// Save returns the trace of ctx, and its baggage, as words; none if it has none.
func (t Trace) Save(ctx context.Context) map[string]string { return t.t.Save(ctx) }

// Restore returns ctx as a part of the trace that Save has returned.
func (t Trace) Restore(ctx context.Context, saved map[string]string) context.Context {
	return t.t.Restore(ctx, saved)
}
