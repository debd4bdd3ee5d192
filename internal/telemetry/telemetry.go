package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.opentelemetry.io/otel"
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
	// AccessLog is told of every call when it has ended, those that go out and
	// those that come in: one record each, at the level of information, with
	// where it went, how it was answered and how long that took; see
	// docs/logs.md. It never has queries, headers, bodies or texts of errors.
	// Default: none.
	AccessLog slog.Handler
}

// Telemetry records what the library does. It is safe for concurrent use.
type Telemetry struct {
	source     string
	tracer     trace.Tracer
	untraced   atomic.Int64 // until then the tracer is taken to do nothing
	propagator propagation.TextMapPropagator
	access     slog.Handler // nil for none

	meter metric.Meter

	httpDuration, rpcDuration  metric.Float64Histogram
	attempts, retries, refused metric.Int64Counter
	injections, mirrored       metric.Int64Counter
	queued                     metric.Float64Histogram
	shed, breaker, ejections   metric.Int64Counter
	config                     metric.Int64Counter
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
		tracer:     o.TracerProvider.Tracer(scope, trace.WithInstrumentationAttributes(attrSource.String(source))),
		propagator: o.Propagator,
		access:     o.AccessLog,
		meter:      o.MeterProvider.Meter(scope),
	}
	i := newInstruments(t.meter)
	t.httpDuration, t.rpcDuration = i.histogram(metricHTTPDuration), i.histogram(metricRPCDuration)
	t.attempts, t.retries, t.refused = i.counter(metricAttempts), i.counter(metricRetries), i.counter(metricRetriesRefused)
	t.injections, t.mirrored = i.counter(metricInjections), i.counter(metricMirrored)
	t.queued = i.histogram(metricQueueDuration)
	t.shed, t.breaker, t.ejections = i.counter(metricShed), i.counter(metricBreaker), i.counter(metricEjections)
	t.config = i.counter(metricConfig)
	if i.err != nil {
		return nil, i.err
	}
	return t, nil
}

// ObserveGuarded asks each time metrics are collected how many requests with an
// idempotency key this program's servers have had, by what became of them. stop
// ends that.
func (t *Telemetry) ObserveGuarded(each func(tell func(result string, n uint64))) (stop func() error, err error) {
	return t.observe(func(tell teller) {
		each(func(result string, n uint64) { tell(metricGuarded, float64(n), attrResult.String(result)) })
	}, metricGuarded)
}

// ConfigUpdated counts a policy document for a service, or for all if that is
// "", which was taken or not.
func (t *Telemetry) ConfigUpdated(service string, applied bool) {
	result := "applied"
	if !applied {
		result = "refused"
	}
	t.config.Add(context.Background(), 1, metric.WithAttributeSet(t.set(attrService.String(service), attrResult.String(result))))
}
