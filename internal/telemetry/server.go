package telemetry

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/innermesh/innermesh/call"
)

// Server records the calls that this program serves. A nil Server records
// nothing.
type Server struct {
	t *Telemetry

	httpDuration, rpcDuration metric.Float64Histogram
	refused                   metric.Int64Counter

	mu    sync.Mutex
	known atomic.Pointer[map[served][]metric.RecordOption] // copied to grow
}

// Arrived is a call that comes in.
type Arrived struct {
	Protocol call.Protocol
	Method   string
	// Header has the trace that the call belongs to.
	Header Carrier
}

// Served is how a call that came in has ended.
type Served struct {
	Protocol call.Protocol
	Method   string
	// Route is the pattern that the request's path has matched, empty if that is
	// not known. It must not be made of the path itself.
	Route string
	// Status is the HTTP status or the gRPC code that the caller was told.
	Status int
	// Refused says why the call was turned away, empty if it was served.
	Refused string
	Took    time.Duration
	// Path, Peer and RequestID are for the access log alone.
	Path, Peer, RequestID string
}

// served is what tells series apart.
type served struct {
	protocol      call.Protocol
	method, route string
	status        int
}

// Server prepares the recording of calls that come in.
func (t *Telemetry) Server() (*Server, error) {
	i := newInstruments(t.meter)
	s := &Server{t: t, refused: i.counter(metricTurnedAway)}
	s.httpDuration, s.rpcDuration = i.histogram(metricHTTPServed), i.histogram(metricRPCServed)
	s.known.Store(new(map[served][]metric.RecordOption))
	return s, i.err
}

// Observe asks each time metrics are collected how many calls are being served.
// stop ends that.
func (s *Server) Observe(inflight func() int) (stop func() error, err error) {
	return s.t.observe(func(tell teller) { tell(metricServing, float64(inflight())) }, metricServing)
}

// Start begins the span of a call, as a part of its caller's trace. now is on the
// clock of mono.Now.
func (s *Server) Start(ctx context.Context, a Arrived, now time.Duration) (context.Context, Span) {
	if s == nil {
		return ctx, Span{}
	}
	if span := trace.SpanFromContext(ctx); isOf(span, trace.SpanKindServer) { // of otelhttp or otelgrpc around us
		return ctx, Span{span: span, lent: true}
	}
	ctx = s.t.propagator.Extract(ctx, a.Header) // also if nobody traces here: calls that are made go on with it
	if int64(now) < s.t.untraced.Load() {
		return ctx, Span{}
	}
	inner, span := s.t.tracer.Start(ctx, arrivedName(a), asServer...)
	if !span.IsRecording() {
		span.End()
		if !span.SpanContext().IsValid() {
			s.t.untraced.Store(int64(now + untracedFor))
			return ctx, Span{}
		}
		return inner, Span{}
	}
	return inner, Span{span: span}
}

var asServer = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}

func arrivedName(a Arrived) string {
	if a.Protocol == call.GRPC {
		return trimSlash(a.Method)
	}
	return knownMethod(a.Method)
}

// End records how a call has ended, and ends its span.
func (s *Server) End(ctx context.Context, span Span, e Served) {
	if s == nil {
		return
	}
	histogram := s.httpDuration
	if e.Protocol == call.GRPC {
		histogram = s.rpcDuration
	}
	if histogram.Enabled(ctx) {
		histogram.Record(ctx, e.Took.Seconds(), s.options(e)...)
	}
	if e.Refused != "" {
		s.refused.Add(ctx, 1, metric.WithAttributeSet(s.t.set(attrProtocol.String(e.Protocol.String()), attrReason.String(e.Refused))))
	}
	s.log(ctx, &e)
	if span.span == nil {
		return
	}
	room := rooms.Get().(*[roomy]attribute.KeyValue)
	defer rooms.Put(room)
	kv := room[:0]
	if e.Refused != "" {
		kv = append(kv, attrReason.String(e.Refused))
	}
	if span.lent {
		span.span.SetAttributes(kv...)
		return
	}
	span.span.SetAttributes(e.attributes(kv)...)
	if e.Route != "" {
		span.span.SetName(knownMethod(e.Method) + " " + e.Route)
	}
	if e.fault() != "" {
		span.span.SetStatus(codes.Error, "")
	}
	span.span.End()
}

func (s *Server) options(e Served) []metric.RecordOption {
	key := served{e.Protocol, e.Method, e.Route, e.Status}
	if e.Protocol == call.HTTP {
		key.method = knownMethod(e.Method)
	}
	if o, ok := (*s.known.Load())[key]; ok {
		return o
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := *s.known.Load()
	if len(known) >= maxSeries { // names from outside must not grow without bound
		key.method, key.route, key.status = other, "", 0
		e.Method, e.Route, e.Status = other, "", 0
	}
	if o, ok := known[key]; ok {
		return o
	}
	grown := maps.Clone(known)
	if grown == nil {
		grown = make(map[served][]metric.RecordOption)
	}
	o := []metric.RecordOption{metric.WithAttributeSet(s.t.set(e.attributes(nil)...))}
	grown[key] = o
	s.known.Store(&grown)
	return o
}

// attributes adds what tells series apart to kv.
func (e *Served) attributes(kv []attribute.KeyValue) []attribute.KeyValue {
	if e.Protocol == call.GRPC {
		kv = append(kv, attrRPCSystem.String("grpc"), attrRPCMethod.String(trimSlash(e.Method)), attrRPCStatus.String(codeName(e.Status)))
	} else {
		kv = append(kv, attrMethod.String(knownMethod(e.Method)), attrStatus.Int(e.Status))
		if e.Route != "" {
			kv = append(kv, attrPattern.String(e.Route))
		}
	}
	if fault := e.fault(); fault != "" {
		kv = append(kv, attrError.String(fault))
	}
	return kv
}

// fault names what counts as an error of a server by the conventions: of HTTP
// what begins with 5, of gRPC the codes that do not blame the caller.
func (e *Served) fault() string {
	if e.Protocol == call.HTTP {
		if e.Status >= 500 {
			return strconv.Itoa(e.Status)
		}
		return ""
	}
	switch name := codeName(e.Status); name {
	case "UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS":
		return name
	default:
		return ""
	}
}
