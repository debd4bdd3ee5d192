package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/innermesh/innermesh/call"
)

// Span is the span of a call or an attempt. The zero Span records nothing, and
// costs nothing.
type Span struct{ span trace.Span }

// Carrier is where a trace is written to so that it travels: HTTP headers or
// gRPC metadata.
type Carrier interface {
	Get(key string) string
	Set(key, value string)
	Keys() []string
}

// StartCall begins the span of a whole call. Unless somebody records or
// propagates, the context comes back as it was. now is on the clock of mono.Now.
func (u *Upstream) StartCall(ctx context.Context, c *call.Call, now time.Duration) (context.Context, Span) {
	if int64(now) < u.t.untraced.Load() {
		return ctx, Span{}
	}
	inner, span := u.t.tracer.Start(ctx, u.spanName(c))
	if !span.IsRecording() {
		span.End()
		if !span.SpanContext().IsValid() { // nobody traces: not even an unsampled trace was begun
			u.t.untraced.Store(int64(now + untracedFor))
			return ctx, Span{}
		}
		return inner, Span{}
	}
	span.SetAttributes(append(callAttributes(c), attrSource.String(u.t.source), attrServer.String(c.Service))...)
	return inner, Span{span}
}

// untracedFor is how long the tracer is left alone after it has shown that it
// does nothing: a program may set OpenTelemetry's global provider at any time.
const untracedFor = time.Second

// StartAttempt begins the span of one attempt, if the call's is recorded.
func (u *Upstream) StartAttempt(ctx context.Context, parent Span, c *call.Call, number int, address string) (context.Context, Span) {
	if parent.span == nil {
		return ctx, Span{}
	}
	ctx, span := u.t.tracer.Start(ctx, u.spanName(c), trace.WithSpanKind(trace.SpanKindClient))
	span.SetAttributes(append(callAttributes(c), attrServer.String(c.Service), attrPeer.String(address),
		attrInstance.String(c.Instance), attrNumber.Int(number))...)
	if number > 1 && c.Protocol == call.HTTP {
		span.SetAttributes(attrResend.Int(number - 1))
	}
	return ctx, Span{span}
}

// Inject writes the trace of ctx to the carrier.
func (u *Upstream) Inject(ctx context.Context, into Carrier) { u.t.propagator.Inject(ctx, into) }

// Retrying notes on the call's span why there will be another attempt.
func (s Span) Retrying(c *call.Call, r call.Reason) {
	if s.span != nil {
		s.span.AddEvent(retryEventName, trace.WithAttributes(
			attrReason.String(r.String()), attrInstance.String(c.Instance), attrNumber.Int(c.Attempts+1)))
	}
}

// Hedging notes on the call's span that another attempt is made beside those
// under way.
func (s Span) Hedging(c *call.Call) {
	if s.span != nil {
		s.span.AddEvent(hedgeEventName, trace.WithAttributes(attrInstance.String(c.Instance), attrNumber.Int(c.Attempts)))
	}
}

// Injected notes that trouble is made for an attempt on purpose.
func (s Span) Injected(name string) {
	if s.span != nil {
		s.span.SetAttributes(attrInjected.String(name))
	}
}

// Judged notes how the call or attempt was answered, or that it was not.
func (s Span) Judged(c *call.Call, out call.Outcome) {
	if s.span == nil {
		return
	}
	if c.Protocol == call.GRPC {
		s.span.SetAttributes(attrRPCStatus.String(codeName(out.Status)))
	} else if out.Status != 0 {
		s.span.SetAttributes(attrStatus.Int(out.Status))
	}
	s.span.SetAttributes(attrAttempts.Int(c.Attempts))
	if e := errorType(series{protocol: c.Protocol, status: out.Status, reason: out.Reason}); e != "" {
		s.span.SetAttributes(attrError.String(e), attrReason.String(out.Reason.String()), attrSent.String(out.Sent.String()))
		message := ""
		if out.Err != nil {
			message = out.Err.Error()
		}
		s.span.SetStatus(codes.Error, message)
	}
}

// End ends the span. It may be called on a zero Span.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}

// spanName keeps to names of bounded number: never a path.
func (u *Upstream) spanName(c *call.Call) string {
	if c.Protocol == call.GRPC {
		return trimSlash(c.Method)
	}
	return u.names[knownMethod(c.Method)]
}

func callAttributes(c *call.Call) []attribute.KeyValue {
	if c.Protocol == call.GRPC {
		return []attribute.KeyValue{attrRPCSystem.String("grpc"), attrRPCMethod.String(trimSlash(c.Method))}
	}
	return []attribute.KeyValue{attrMethod.String(knownMethod(c.Method))}
}
