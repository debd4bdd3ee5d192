package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/innermesh/innermesh/call"
)

// Carrier is where a trace is written to so that it travels: HTTP headers or
// gRPC metadata.
type Carrier interface {
	Get(key string) string
	Set(key, value string)
	Keys() []string
}

// untracedFor is how long the tracer is left alone after it has shown that it
// does nothing: a program may set OpenTelemetry's global provider at any time.
const untracedFor = time.Second

// StartCall begins the span of a whole call. Unless somebody records or
// propagates, the context comes back as it was. now is on the clock of mono.Now.
//
// Is there a client's span in the context already, of otelhttp or otelgrpc around
// the mesh, the call has its span: it is told what happens, and the attempts are
// its children.
func (u *Upstream) StartCall(ctx context.Context, c *call.Call, now time.Duration) (context.Context, Span) {
	if int64(now) < u.t.untraced.Load() {
		return ctx, Span{}
	}
	if span := trace.SpanFromContext(ctx); isOf(span, trace.SpanKindClient) {
		span.SetAttributes(attrSource.String(u.t.source), attrService.String(u.service))
		return ctx, Span{span: span, lent: true}
	}
	of := u.spans(c)
	inner, span := u.t.tracer.Start(ctx, of.name)
	if !span.IsRecording() {
		span.End()
		if !span.SpanContext().IsValid() { // nobody traces: not even an unsampled trace was begun
			u.t.untraced.Store(int64(now + untracedFor))
			return ctx, Span{}
		}
		return inner, Span{}
	}
	return inner, Span{span: span, of: of}
}

// isOf says whether a span that is recorded in this process is of a kind, as far
// as it tells.
func isOf(span trace.Span, kind trace.SpanKind) bool {
	if !span.IsRecording() {
		return false
	}
	s, tells := span.(interface{ SpanKind() trace.SpanKind }) // the SDK's do
	return tells && s.SpanKind() == kind
}

// StartAttempt begins the span of one attempt, if the call's is recorded. It is
// linked to that of the attempt before.
func (u *Upstream) StartAttempt(ctx context.Context, of Span, c *call.Call, before Span) (context.Context, Span) {
	if of.span == nil {
		return ctx, Span{}
	}
	spans := of.of
	if of.lent {
		spans = u.spans(c)
	}
	options := attemptOptions
	if before.span != nil {
		options = []trace.SpanStartOption{asClient, trace.WithLinks(trace.Link{SpanContext: before.span.SpanContext()})}
	}
	inner, span := u.t.tracer.Start(ctx, spans.name, options...)
	if !span.IsRecording() {
		span.End()
		return inner, Span{}
	}
	return inner, Span{span: span, of: spans}
}

// A sampler goes by the name of the call's span: attributes are cheapest when all
// are set at once, at the end.
var (
	asClient       = trace.WithSpanKind(trace.SpanKindClient)
	attemptOptions = []trace.SpanStartOption{asClient}
)

// Inject writes the trace of ctx to the carrier.
func (u *Upstream) Inject(ctx context.Context, into Carrier) { u.t.propagator.Inject(ctx, into) }

// spans are the name and what is known of the spans of calls by one method before
// they begin.
type spans struct {
	name  string
	about []attribute.KeyValue
}

func (u *Upstream) spans(c *call.Call) *spans {
	method := c.Method
	if c.Protocol == call.HTTP {
		method = knownMethod(method)
	}
	if of, ok := u.named.Load(method); ok {
		return of.(*spans)
	}
	of := u.newSpans(c.Protocol, method)
	if u.names.Add(1) <= maxSeries { // methods may come from outside: those of a proxy
		u.named.Store(method, of)
	}
	return of
}

// newSpans keeps to names of bounded number: never a path.
func (u *Upstream) newSpans(p call.Protocol, method string) *spans {
	of := &spans{name: method + " " + u.service, about: series{protocol: p, method: method}.about(u.service)}
	if p == call.GRPC {
		of.name = trimSlash(method)
	}
	return of
}
