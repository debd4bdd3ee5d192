package telemetry

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Target records what happens to the instances of one target of a service.
type Target struct {
	t      *Telemetry
	labels []attribute.KeyValue
	queued []metric.RecordOption

	shed sync.Map // limit's name to []metric.AddOption
}

// Target prepares the recording of what happens to the instances of destination
// that calls to service go to.
func (t *Telemetry) Target(service, destination, subset string) *Target {
	o := &Target{t: t, labels: []attribute.KeyValue{
		attrService.String(service), attrDestination.String(destination), attrSubset.String(subset),
	}}
	o.queued = []metric.RecordOption{metric.WithAttributeSet(t.set(o.labels...))}
	return o
}

// Queued records that a call stood in line for a limit for so long.
func (o *Target) Queued(ctx context.Context, took time.Duration) {
	o.t.queued.Record(ctx, took.Seconds(), o.queued...)
}

// Shed counts a call that a limit kept back.
func (o *Target) Shed(ctx context.Context, limit string) {
	known, ok := o.shed.Load(limit)
	if !ok { // when much is shed, that must be cheap
		known, _ = o.shed.LoadOrStore(limit, []metric.AddOption{o.count(attrLimit.String(limit))})
	}
	o.t.shed.Add(ctx, 1, known.([]metric.AddOption)...)
}

// BreakerChanged counts that an instance's breaker has entered a state.
func (o *Target) BreakerChanged(state string) {
	o.t.breaker.Add(context.Background(), 1, o.count(attrState.String(state)))
}

// Ejected counts that an instance was ejected.
func (o *Target) Ejected(cause string) {
	o.t.ejections.Add(context.Background(), 1, o.count(attrCause.String(cause)))
}

func (o *Target) count(more attribute.KeyValue) metric.AddOption {
	return metric.WithAttributeSet(o.t.set(o.with(more)...))
}
