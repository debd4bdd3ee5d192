package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
)

// Why a copy of a call was not sent.
const (
	NotCopiedFull   = "full"   // as many as may be are under way
	NotCopiedBody   = "body"   // its body is too long, or was not sent to its end
	NotCopiedKind   = "kind"   // a stream, or what else can not be copied
	NotCopiedClosed = "closed" // the service is let go
)

// Mirrored counts a copy of a call by where it goes and what became of it: how it
// ended, or why it was not sent.
func (u *Upstream) Mirrored(ctx context.Context, destination, subset, result string) {
	if !u.t.mirrored.Enabled(ctx) {
		return
	}
	u.t.mirrored.Add(ctx, 1, metric.WithAttributeSet(u.t.set(attrService.String(u.service),
		attrDestination.String(destination), attrSubset.String(subset), attrResult.String(result))))
}

// Mirrored notes that the span is that of a copy, or of an attempt of one.
func (s Span) Mirrored() {
	if s.span != nil {
		s.span.SetAttributes(attrMirrored.Bool(true))
	}
}

// UnrecordedWay is a way whose calls are in no metric: that of copies.
func (u *Upstream) UnrecordedWay() *Way {
	return (&Upstream{t: u.t.unrecorded(), service: u.service}).newWay(way{})
}

// UnrecordedTarget is a target of which the same is true.
func (t *Telemetry) UnrecordedTarget() *Target { return t.unrecorded().Target("", "", "") }

// unrecorded has instruments that do nothing.
func (t *Telemetry) unrecorded() *Telemetry {
	var c noop.Int64Counter
	var h noop.Float64Histogram
	return &Telemetry{
		source: t.source, tracer: t.tracer, propagator: t.propagator, meter: noop.Meter{},
		httpDuration: h, rpcDuration: h, queued: h,
		attempts: c, retries: c, refused: c, injections: c, mirrored: c, shed: c, breaker: c, ejections: c, config: c,
	}
}

// Detached returns a context that has the trace and the baggage of ctx and
// nothing else: neither its end nor its values.
func Detached(ctx context.Context) context.Context {
	out := trace.ContextWithSpanContext(context.Background(), trace.SpanContextFromContext(ctx))
	return baggage.ContextWithBaggage(out, baggage.FromContext(ctx))
}
