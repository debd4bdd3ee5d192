package telemetry

import (
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/innermesh/innermesh/call"
)

// Span is the span of a call or an attempt. The zero Span records nothing, and
// costs nothing.
type Span struct {
	span trace.Span
	lent bool   // it is somebody else's, who ends it and says how the call went
	of   *spans // what is known before it begins
}

// IsRecording says whether somebody wants to know.
func (s Span) IsRecording() bool { return s.span != nil }

// Retrying notes on the call's span why there will be another attempt, and after
// which pause.
func (s Span) Retrying(c *call.Call, r call.Reason, pause time.Duration) {
	s.event(eventRetry, attrReason.String(r.String()), attrInstance.String(c.Instance),
		attrNumber.Int(c.Attempts+1), attrBackoff.Float64(pause.Seconds()))
}

// RetryRefused notes on the call's span why there will be none.
func (s Span) RetryRefused(why Refusal) { s.event(eventRetryRefused, attrReason.String(why.String())) }

// Hedging notes on the call's span that another attempt is made beside those
// under way.
func (s Span) Hedging(c *call.Call) {
	s.event(eventHedge, attrInstance.String(c.Instance), attrNumber.Int(c.Attempts))
}

// Injected notes on an attempt's span that trouble is made on purpose.
func (s Span) Injected(name string) { s.event(eventFault, attrInjected.String(name)) }

// BreakerOpened notes on an attempt's span that its failure was the one that
// opened the instance's breaker.
func (s Span) BreakerOpened(instance string) {
	s.event(eventBreaker, attrInstance.String(instance), attrState.String("open"))
}

// BreakersOpen notes on the call's span that the breakers of all instances keep
// it back. first is the instance that will be probed first.
func (s Span) BreakersOpen(first string) {
	s.event(eventBreaker, attrInstance.String(first), attrState.String("open"))
}

// Ejected notes on an attempt's span that its failure was the one for which the
// instance was ejected.
func (s Span) Ejected(instance string) { s.event(eventEjection, attrInstance.String(instance)) }

func (s Span) event(name string, kv ...attribute.KeyValue) {
	if s.span != nil {
		s.span.AddEvent(name, trace.WithAttributes(kv...))
	}
}

// Answered notes on the call's span how it was answered, or that it was not.
func (s Span) Answered(c *call.Call, out call.Outcome) {
	if s.span == nil {
		return
	}
	room := rooms.Get().(*[roomy]attribute.KeyValue)
	defer rooms.Put(room)
	kv := room[:0]
	if s.lent { // it has its owner's word for the rest
		s.span.SetAttributes(append(kv, attrAttempts.Int(c.Attempts), attrReason.String(out.Reason.String()))...)
		return
	}
	if c.Attempts == 1 && out.Reason == call.OK && errorType(series{protocol: c.Protocol, status: out.Status}) == "" {
		return // its only attempt has it all
	}
	kv = append(append(kv, s.of.about...), attrAttempts.Int(c.Attempts))
	s.judged(kv, c, out)
}

// rooms are where attributes stand until a span has copied them.
var rooms = sync.Pool{New: func() any { return new([roomy]attribute.KeyValue) }}

// roomy is for as many as an attempt's span may have.
const roomy = 14

// Try is what the span of an attempt tells beside its outcome.
type Try struct {
	Number   int
	Kind     Attempt
	Instance string
	Address  string
	// Pause is how long the call waited before it.
	Pause time.Duration
}

// Judged notes on an attempt's span how it went.
func (s Span) Judged(c *call.Call, t *Try, out call.Outcome) {
	if s.span == nil {
		return
	}
	room := rooms.Get().(*[roomy]attribute.KeyValue)
	defer rooms.Put(room)
	kv := append(append(room[:0], s.of.about...), attrInstance.String(t.Instance), attrPeer.String(t.Address))
	if t.Number > 1 { // there is nothing to tell of a first one
		kv = append(kv, attrNumber.Int(t.Number), attrKind.String(t.Kind.String()))
		if c.Protocol == call.HTTP {
			kv = append(kv, attrResend.Int(t.Number-1))
		}
		if t.Pause > 0 {
			kv = append(kv, attrBackoff.Float64(t.Pause.Seconds()))
		}
	}
	s.judged(kv, c, out)
}

// judged adds what an outcome tells.
func (s Span) judged(kv []attribute.KeyValue, c *call.Call, out call.Outcome) {
	if c.Protocol == call.GRPC {
		if out.Status != 0 || out.Reason == call.OK {
			kv = append(kv, attrRPCStatus.String(codeName(out.Status)))
		}
	} else if out.Status != 0 {
		kv = append(kv, attrStatus.Int(out.Status))
	}
	e := errorType(series{protocol: c.Protocol, status: out.Status, reason: out.Reason})
	if e != "" {
		kv = append(kv, attrError.String(e), attrReason.String(out.Reason.String()), attrSent.String(out.Sent.String()))
	}
	s.span.SetAttributes(kv...)
	if e != "" {
		message := ""
		if out.Err != nil {
			message = out.Err.Error()
		}
		s.span.SetStatus(codes.Error, message)
	}
}

// End ends the span. It may be called on a zero Span.
func (s Span) End() {
	if s.span != nil && !s.lent {
		s.span.End()
	}
}
