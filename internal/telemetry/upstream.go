package telemetry

import (
	"context"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"
)

// Upstream records calls to one service, whichever way they go.
type Upstream struct {
	t       *Telemetry
	service string
	names   map[string]string // of spans, by HTTP method
	lost    *Way

	series atomic.Int64 // of all ways' calls

	mu   sync.Mutex
	ways map[way]*Way
}

// Upstream prepares the recording of calls to a service.
func (t *Telemetry) Upstream(service string) *Upstream {
	u := &Upstream{t: t, service: service, names: make(map[string]string, len(knownMethods)+1), ways: make(map[way]*Way)}
	for _, m := range append(knownMethods[:], other) {
		u.names[m] = m + " " + service
	}
	u.lost = u.Way("", "", "")
	return u
}

// Lost is the way of calls that ended before there was one.
func (u *Upstream) Lost() *Way { return u.lost }

// Injected counts an attempt that trouble is made for, by the injection's name.
func (u *Upstream) Injected(ctx context.Context, name string) {
	u.t.injections.Add(ctx, 1, metric.WithAttributeSet(u.t.set(attrService.String(u.service), attrInjected.String(name))))
}
