package telemetry

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/innermesh/innermesh/call"
)

// Way records the calls to a service that go one way: by one route, to one
// target. What it records allocates nothing once its series is there.
type Way struct {
	u      *Upstream
	name   way
	labels []attribute.KeyValue

	attempts [protocols][attemptKinds][]lazy // by reason
	retries  [protocols][]lazy               // by reason
	refused  [protocols][refusals]lazy

	mu    sync.Mutex
	calls atomic.Pointer[map[series][]metric.RecordOption] // copied to grow
}

const protocols = call.GRPC + 1 // by call.Protocol, whose first is 1

// lazy is the series of a counter, made when it is first counted.
type lazy = atomic.Pointer[[]metric.AddOption]

// Way prepares the recording of calls by a route to a target. The same names
// give the same Way; of too many, the rest shares one.
func (u *Upstream) Way(route, destination, subset string) *Way {
	u.mu.Lock()
	defer u.mu.Unlock()
	name := way{route, destination, subset}
	if w := u.ways[name]; w != nil {
		return w
	}
	if len(u.ways) >= maxWays {
		name = way{route: other}
		if w := u.ways[name]; w != nil {
			return w
		}
	}
	w := u.newWay(name)
	u.ways[name] = w
	return w
}

// way is what tells the ways of a service's calls apart.
type way struct{ route, destination, subset string }

func (u *Upstream) newWay(name way) *Way {
	w := &Way{u: u, name: name, labels: []attribute.KeyValue{
		attrService.String(u.service), attrDestination.String(name.destination),
		attrSubset.String(name.subset), attrRoute.String(name.route),
	}}
	n := len(call.Reasons())
	for p := range w.attempts {
		for k := range w.attempts[p] {
			w.attempts[p][k] = make([]lazy, n)
		}
		w.retries[p] = make([]lazy, n)
	}
	w.calls.Store(new(map[series][]metric.RecordOption))
	return w
}

// Attempted counts an attempt that has ended.
func (w *Way) Attempted(ctx context.Context, p call.Protocol, kind Attempt, r call.Reason) {
	if !w.u.t.attempts.Enabled(ctx) {
		return
	}
	l := &w.attempts[p][kind][r]
	o := l.Load()
	if o == nil {
		o = w.count(l, attrProtocol.String(p.String()), attrReason.String(r.String()), attrKind.String(kind.String()))
	}
	w.u.t.attempts.Add(ctx, 1, *o...)
}

// Retried counts an attempt that is made because one has ended so.
func (w *Way) Retried(ctx context.Context, p call.Protocol, after call.Reason) {
	l := &w.retries[p][after]
	o := l.Load()
	if o == nil {
		o = w.count(l, attrProtocol.String(p.String()), attrReason.String(after.String()))
	}
	w.u.t.retries.Add(ctx, 1, *o...)
}

// RetryRefused counts an attempt that is not made although one has failed.
func (w *Way) RetryRefused(ctx context.Context, p call.Protocol, why Refusal) {
	l := &w.refused[p][why]
	o := l.Load()
	if o == nil {
		o = w.count(l, attrProtocol.String(p.String()), attrReason.String(why.String()))
	}
	w.u.t.refused.Add(ctx, 1, *o...)
}

func (w *Way) count(l *lazy, more ...attribute.KeyValue) *[]metric.AddOption {
	o := &[]metric.AddOption{metric.WithAttributeSet(w.set(more...))}
	l.Store(o)
	return o
}

func (w *Way) set(more ...attribute.KeyValue) attribute.Set {
	return w.u.t.set(append(slices.Clip(w.labels), more...)...)
}

// Called records how long a call took to be answered or given up.
func (w *Way) Called(ctx context.Context, c *call.Call, out call.Outcome, took time.Duration) {
	histogram := w.u.t.httpDuration
	if c.Protocol == call.GRPC {
		histogram = w.u.t.rpcDuration
	}
	if !histogram.Enabled(ctx) {
		return
	}
	histogram.Record(ctx, took.Seconds(), w.record(series{c.Protocol, c.Method, out.Status, out.Reason})...)
}

func (w *Way) record(s series) []metric.RecordOption {
	if s.protocol == call.HTTP {
		s.method = knownMethod(s.method)
	}
	if o, ok := (*w.calls.Load())[s]; ok {
		return o
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	known := *w.calls.Load()
	if o, ok := known[s]; ok {
		return o
	}
	if w.u.series.Add(1) > maxSeries { // names from outside must not grow without bound
		w.u.series.Add(-1)
		s.method, s.status = other, 0
		if o, ok := known[s]; ok {
			return o
		}
	}
	grown := maps.Clone(known)
	if grown == nil {
		grown = make(map[series][]metric.RecordOption)
	}
	o := []metric.RecordOption{metric.WithAttributeSet(w.set(s.labels(w.u.service)...))}
	grown[s] = o
	w.calls.Store(&grown)
	return o
}
