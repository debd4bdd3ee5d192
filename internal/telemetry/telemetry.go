package telemetry

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Options say where spans and metrics go. The zero value uses OpenTelemetry's
// globals, which do nothing until the program sets them.
type Options struct {
	// TracerProvider makes the spans. Default: otel.GetTracerProvider().
	TracerProvider trace.TracerProvider
	// MeterProvider makes the instruments. Default: otel.GetMeterProvider().
	MeterProvider metric.MeterProvider
	// Propagator carries the trace to the callee. Default: W3C trace context
	// and baggage.
	Propagator propagation.TextMapPropagator
}

// Telemetry records what the library does. It is safe for concurrent use.
type Telemetry struct {
	source     string
	tracer     trace.Tracer
	untraced   atomic.Int64 // until then the tracer is taken to do nothing
	propagator propagation.TextMapPropagator

	httpDuration, rpcDuration metric.Float64Histogram
	attempts                  metric.Int64Counter
	breaker                   metric.Int64Counter
	config                    metric.Int64Counter
	injections                metric.Int64Counter
	inflight                  metric.Int64ObservableUpDownCounter
	guarded                   metric.Int64ObservableCounter
	meter                     metric.Meter
}

// New prepares the instruments. source is the name of the calling service.
func New(o Options, source string) (*Telemetry, error) {
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	if o.Propagator == nil {
		o.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	}
	t := &Telemetry{
		source:     source,
		tracer:     o.TracerProvider.Tracer(scope),
		propagator: o.Propagator,
		meter:      o.MeterProvider.Meter(scope),
	}
	if err := t.instruments(); err != nil {
		return nil, fmt.Errorf("make the instruments: %w", err)
	}
	return t, nil
}

func (t *Telemetry) instruments() (err error) {
	make64 := func(into *metric.Float64Histogram, name, description string) {
		if err == nil {
			*into, err = t.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
				metric.WithExplicitBucketBoundaries(durationBounds...))
		}
	}
	count := func(into *metric.Int64Counter, name, unit, description string) {
		if err == nil {
			*into, err = t.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		}
	}
	make64(&t.httpDuration, metricHTTPDuration, "Time from the start of an HTTP call to its answer, all attempts included.")
	make64(&t.rpcDuration, metricRPCDuration, "Duration of a gRPC call, all attempts included.")
	count(&t.attempts, metricAttempts, "{attempt}", "Attempts by how they ended; those after the first are retries.")
	count(&t.breaker, metricBreaker, "{change}", "Changes of state of the instances' circuit breakers.")
	count(&t.injections, metricInjections, "{attempt}", "Attempts that trouble was made for on purpose.")
	count(&t.config, metricConfig, "{update}", "Policy documents that were applied or refused.")
	if err == nil {
		t.inflight, err = t.meter.Int64ObservableUpDownCounter(metricInflight,
			metric.WithUnit("{attempt}"), metric.WithDescription("Attempts under way."))
	}
	if err == nil {
		t.guarded, err = t.meter.Int64ObservableCounter(metricGuarded,
			metric.WithUnit("{request}"), metric.WithDescription("Requests with an idempotency key by what became of them."))
	}
	return err
}

// ObserveInflight asks each time metrics are collected how many attempts are
// under way to each service. stop ends that.
func (t *Telemetry) ObserveInflight(each func(tell func(service string, n int))) (stop func() error, err error) {
	reg, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		each(func(service string, n int) {
			o.ObserveInt64(t.inflight, int64(n), metric.WithAttributes(attrSource.String(t.source), attrService.String(service)))
		})
		return nil
	}, t.inflight)
	if err != nil {
		return nil, fmt.Errorf("observe %s: %w", metricInflight, err)
	}
	return reg.Unregister, nil
}

// ObserveGuarded asks each time metrics are collected how many requests with an
// idempotency key this program's servers have had, by what became of them. stop
// ends that.
func (t *Telemetry) ObserveGuarded(each func(tell func(result string, n uint64))) (stop func() error, err error) {
	reg, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		each(func(result string, n uint64) {
			o.ObserveInt64(t.guarded, int64(min(n, math.MaxInt64)), metric.WithAttributes(attrSource.String(t.source), attrResult.String(result)))
		})
		return nil
	}, t.guarded)
	if err != nil {
		return nil, fmt.Errorf("observe %s: %w", metricGuarded, err)
	}
	return reg.Unregister, nil
}

// BreakerChanged counts that an instance's breaker has entered a state.
func (t *Telemetry) BreakerChanged(service, state string) {
	t.breaker.Add(context.Background(), 1, metric.WithAttributes(
		attrSource.String(t.source), attrService.String(service), attrState.String(state)))
}

// ConfigUpdated counts a policy document for a service that was taken or not.
func (t *Telemetry) ConfigUpdated(service string, applied bool) {
	result := "applied"
	if !applied {
		result = "refused"
	}
	t.config.Add(context.Background(), 1, metric.WithAttributes(
		attrSource.String(t.source), attrService.String(service), attrResult.String(result)))
}

func attributeSet(kv ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(kv...))
}
