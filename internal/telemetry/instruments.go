package telemetry

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// instruments makes instruments from the rows of the table. The first fault
// stays in err.
type instruments struct {
	meter metric.Meter
	rows  map[string]Metric
	err   error
}

func newInstruments(meter metric.Meter) *instruments {
	i := &instruments{meter: meter, rows: make(map[string]Metric)}
	for _, row := range Metrics() {
		i.rows[row.Name] = row
	}
	return i
}

func (i *instruments) row(name string, kind Kind) (row Metric) {
	row, known := i.rows[name]
	if (!known || row.Kind != kind) && i.err == nil {
		i.err = fmt.Errorf("the table of metrics has no %s %q", kind, name)
	}
	return row
}

func (i *instruments) made(name string, err error) {
	if err != nil && i.err == nil {
		i.err = fmt.Errorf("make %s: %w", name, err)
	}
}

func (i *instruments) histogram(name string) metric.Float64Histogram {
	row := i.row(name, Histogram)
	h, err := i.meter.Float64Histogram(name, metric.WithUnit(row.Unit), metric.WithDescription(row.Help),
		metric.WithExplicitBucketBoundaries(row.Buckets...))
	i.made(name, err)
	return h
}

func (i *instruments) counter(name string) metric.Int64Counter {
	row := i.row(name, Counter)
	c, err := i.meter.Int64Counter(name, metric.WithUnit(row.Unit), metric.WithDescription(row.Help))
	i.made(name, err)
	return c
}

// told is a metric whose values are asked for each time metrics are collected.
type told struct {
	metric.Observable
	tell func(o metric.Observer, v float64, set metric.ObserveOption)
}

func (i *instruments) told(name string) told {
	row := i.rows[name]
	unit, help := metric.WithUnit(row.Unit), metric.WithDescription(row.Help)
	switch row.Kind {
	case Counter:
		c, err := i.meter.Int64ObservableCounter(name, unit, help)
		i.made(name, err)
		return told{c, func(o metric.Observer, v float64, set metric.ObserveOption) { o.ObserveInt64(c, int64(v), set) }}
	case UpDown:
		c, err := i.meter.Int64ObservableUpDownCounter(name, unit, help)
		i.made(name, err)
		return told{c, func(o metric.Observer, v float64, set metric.ObserveOption) { o.ObserveInt64(c, int64(v), set) }}
	case Gauge, Histogram:
	}
	i.row(name, Gauge) // it is one, or there is none
	g, err := i.meter.Float64ObservableGauge(name, unit, help)
	i.made(name, err)
	return told{g, func(o metric.Observer, v float64, set metric.ObserveOption) { o.ObserveFloat64(g, v, set) }}
}

// teller says what a metric of the table stands at. The source is added to the
// labels; what is told of the same labels is summed up.
type teller func(name string, v float64, labels ...attribute.KeyValue)

// observe has each called when metrics are collected, to tell what the named
// metrics stand at. stop ends that.
func (t *Telemetry) observe(each func(tell teller), names ...string) (stop func() error, err error) {
	from := newInstruments(t.meter)
	all := make(map[string]told, len(names))
	observables := make([]metric.Observable, 0, len(names))
	for _, name := range names {
		all[name] = from.told(name)
		observables = append(observables, all[name].Observable)
	}
	if from.err != nil {
		return nil, from.err
	}
	type one struct {
		name   string
		labels attribute.Distinct
	}
	reg, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		sums, sets := make(map[one]float64), make(map[attribute.Distinct]attribute.Set)
		each(func(name string, v float64, labels ...attribute.KeyValue) {
			set := t.set(labels...)
			sets[set.Equivalent()] = set
			sums[one{name, set.Equivalent()}] += v
		})
		for of, v := range sums {
			all[of.name].tell(o, v, metric.WithAttributeSet(sets[of.labels]))
		}
		return nil
	}, observables...)
	if err != nil {
		return nil, fmt.Errorf("observe %v: %w", names, err)
	}
	return reg.Unregister, nil
}

// set is a series: the source and what of these labels has a value.
func (t *Telemetry) set(labels ...attribute.KeyValue) attribute.Set {
	kv := make([]attribute.KeyValue, 0, 1+len(labels))
	kv = append(kv, attrSource.String(t.source))
	for _, l := range labels {
		if l.Value.Type() != attribute.STRING || l.Value.AsString() != "" {
			kv = append(kv, l)
		}
	}
	return attribute.NewSet(kv...)
}
