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
	lost    *Way

	series atomic.Int64 // of all ways' calls
	named  sync.Map     // *spans by method
	names  atomic.Int64 // how many there are

	mu   sync.Mutex
	ways map[way]*Way
}

// Upstream prepares the recording of calls to a service.
func (t *Telemetry) Upstream(service string) *Upstream {
	u := &Upstream{t: t, service: service, ways: make(map[way]*Way)}
	u.lost = u.Way("", "", "")
	return u
}

// Lost is the way of calls that ended before there was one.
func (u *Upstream) Lost() *Way { return u.lost }

// Injected counts an attempt that trouble is made for, by the injection's name.
func (u *Upstream) Injected(ctx context.Context, name string) {
	u.t.injections.Add(ctx, 1, metric.WithAttributeSet(u.t.set(attrService.String(u.service), attrInjected.String(name))))
}
