package telemetry

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/innermesh/innermesh/call"
)

// Upstream records calls to one service.
type Upstream struct {
	t       *Telemetry
	service string

	attempts [][2][]metric.AddOption // by reason; first attempts, then retries
	names    map[string]string       // of spans, by HTTP method

	mu    sync.Mutex
	calls atomic.Pointer[map[series][]metric.RecordOption] // copied to grow
}

// series is what tells the calls to one service apart.
type series struct {
	protocol call.Protocol
	method   string
	status   int
	reason   call.Reason
}

// Upstream prepares the recording of calls to a service.
func (t *Telemetry) Upstream(service string) *Upstream {
	u := &Upstream{t: t, service: service, names: make(map[string]string, len(knownMethods)+1)}
	for _, m := range append(knownMethods[:], otherMethod) {
		u.names[m] = m + " " + service
	}
	for _, r := range call.Reasons() {
		var options [2][]metric.AddOption
		for i, retry := range []bool{false, true} {
			options[i] = []metric.AddOption{attributeSet(
				attrSource.String(t.source), attrService.String(service),
				attrReason.String(r.String()), attrRetry.Bool(retry))}
		}
		u.attempts = append(u.attempts, options)
	}
	u.calls.Store(new(map[series][]metric.RecordOption))
	return u
}

// Attempted counts one attempt.
func (u *Upstream) Attempted(ctx context.Context, number int, r call.Reason) {
	if !u.t.attempts.Enabled(ctx) {
		return
	}
	retry := 0
	if number > 1 {
		retry = 1
	}
	u.t.attempts.Add(ctx, 1, u.attempts[r][retry]...)
}

// Injected counts an attempt that trouble is made for, by the injection's name.
func (u *Upstream) Injected(ctx context.Context, name string) {
	u.t.injections.Add(ctx, 1, metric.WithAttributes(
		attrSource.String(u.t.source), attrService.String(u.service), attrInjected.String(name)))
}

// Called records how long a call took to be answered or given up.
func (u *Upstream) Called(ctx context.Context, c *call.Call, out call.Outcome, took time.Duration) {
	histogram := u.t.httpDuration
	if c.Protocol == call.GRPC {
		histogram = u.t.rpcDuration
	}
	if !histogram.Enabled(ctx) {
		return
	}
	histogram.Record(ctx, took.Seconds(), u.options(series{c.Protocol, c.Method, out.Status, out.Reason})...)
}

func (u *Upstream) options(s series) []metric.RecordOption {
	if s.protocol == call.HTTP {
		s.method = knownMethod(s.method)
	}
	if o, ok := (*u.calls.Load())[s]; ok {
		return o
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	known := *u.calls.Load()
	if o, ok := known[s]; ok {
		return o
	}
	if len(known) >= maxSeries { // names from outside must not grow without bound
		s.method, s.status = otherMethod, 0
		if o, ok := known[s]; ok {
			return o
		}
	}
	grown := maps.Clone(known)
	if grown == nil {
		grown = make(map[series][]metric.RecordOption)
	}
	o := []metric.RecordOption{attributeSet(u.attributes(s)...)}
	grown[s] = o
	u.calls.Store(&grown)
	return o
}

func (u *Upstream) attributes(s series) []attribute.KeyValue {
	kv := []attribute.KeyValue{attrSource.String(u.t.source), attrServer.String(u.service)}
	if s.protocol == call.GRPC {
		kv = append(kv, attrRPCSystem.String("grpc"), attrRPCMethod.String(trimSlash(s.method)),
			attrRPCStatus.String(codeName(s.status)))
	} else {
		kv = append(kv, attrMethod.String(s.method))
		if s.status != 0 {
			kv = append(kv, attrStatus.Int(s.status))
		}
	}
	if e := errorType(s); e != "" {
		kv = append(kv, attrError.String(e))
	}
	return kv
}

// errorType is the status where there is one, else the reason.
func errorType(s series) string {
	switch {
	case s.protocol == call.GRPC && s.status != 0:
		return codeName(s.status)
	case s.protocol == call.HTTP && s.status >= 400:
		return strconv.Itoa(s.status)
	case s.status == 0 && s.reason != call.OK:
		return s.reason.String()
	default:
		return ""
	}
}

// knownMethods are those that the conventions allow as labels.
var knownMethods = [...]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "QUERY"}

func knownMethod(m string) string {
	if slices.Contains(knownMethods[:], m) {
		return m
	}
	return otherMethod
}

func trimSlash(method string) string {
	if len(method) > 0 && method[0] == '/' {
		return method[1:]
	}
	return method
}

// codeNames are gRPC's codes by number, as the conventions spell them.
var codeNames = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

func codeName(code int) string {
	if code >= 0 && code < len(codeNames) {
		return codeNames[code]
	}
	return strconv.Itoa(code)
}
