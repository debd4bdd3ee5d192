package main

import (
	"context"
	"errors"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"go.opentelemetry.io/otel/attribute"

	"github.com/innermesh/innermesh/mesh"
)

// exporters are where signals go: metrics to whoever scrapes, traces to a
// collector if one is named by OTEL_EXPORTER_OTLP_ENDPOINT.
type exporters struct {
	meters *sdkmetric.MeterProvider
	spans  map[string]*sdktrace.TracerProvider // by service
	otlp   sdktrace.SpanExporter
	scrape http.Handler
}

func newExporters(ctx context.Context) (*exporters, error) {
	registry := prometheus.NewRegistry()
	reader, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo(), otelprom.WithoutTargetInfo())
	if err != nil {
		return nil, err
	}
	e := &exporters{
		meters: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), spans: map[string]*sdktrace.TracerProvider{},
		scrape: promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}), // with exemplars
	}
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" {
		if e.otlp, err = otlptracehttp.New(ctx); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// of returns where the signals of a service go. Programs of their own would set
// OpenTelemetry's globals instead.
func (e *exporters) of(service string) mesh.TelemetryOptions {
	o := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", service))),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.1))),
	}
	if e.otlp != nil {
		o = append(o, sdktrace.WithBatcher(e.otlp))
	}
	e.spans[service] = sdktrace.NewTracerProvider(o...)
	return mesh.TelemetryOptions{MeterProvider: e.meters, TracerProvider: e.spans[service]}
}

func (e *exporters) close(ctx context.Context) error {
	err := e.meters.Shutdown(ctx)
	for _, p := range e.spans {
		err = errors.Join(err, p.Shutdown(ctx))
	}
	return err
}
