package mesh_test

import (
	"maps"
	"net/http"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/innermesh/innermesh/mesh"
)

// With the SDK's own filter, which keeps what is in a sampled trace: the points of
// histograms and counters of calls lead to the trace, and to the span that they
// tell of.
func TestExemplarsLeadToTraces(t *testing.T) {
	told, reader := newTraces(), sdkmetric.NewManualReader()
	tel := told.of("checkout")
	tel.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	server := newMesh(t, mesh.Options{Discovery: addresses{}, Telemetry: tel})
	m := newMesh(t, mesh.Options{Telemetry: tel, Discovery: addresses{
		"web": {web(t, server.Middleware(http.HandlerFunc(ok)).ServeHTTP)},
	}})
	get(t, m, "http://web/", 1)
	told.settle(t)
	spans := make(map[trace.SpanID]trace.SpanKind)
	for _, s := range told.Ended() {
		spans[s.SpanContext().SpanID()] = s.SpanKind()
	}
	if len(spans) != 3 {
		t.Fatalf("%d spans, want those of the call, the attempt and the server", len(spans))
	}
	led := make(map[string]trace.SpanKind)
	for _, metric := range collect(t, reader) {
		for trail, span := range exemplars(metric.Data) {
			if want := told.Ended()[0].SpanContext().TraceID(); trail != want {
				t.Errorf("%s leads to the trace %s, want %s", metric.Name, trail, want)
			}
			led[metric.Name] = spans[span]
		}
	}
	want := map[string]trace.SpanKind{
		"http.client.request.duration": trace.SpanKindInternal,
		"innermesh.client.attempts":    trace.SpanKindClient,
		"http.server.request.duration": trace.SpanKindServer,
	}
	if !maps.Equal(led, want) {
		t.Errorf("metrics lead to spans of these kinds: %v, want %v", led, want)
	}
}

// exemplars are the traces and spans that the points of a metric lead to.
func exemplars(data metricdata.Aggregation) map[trace.TraceID]trace.SpanID {
	all := make(map[trace.TraceID]trace.SpanID)
	add := func(trail, span []byte) {
		all[trace.TraceID(trail)] = trace.SpanID(span)
	}
	switch data := data.(type) {
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			for _, e := range p.Exemplars {
				add(e.TraceID, e.SpanID)
			}
		}
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			for _, e := range p.Exemplars {
				add(e.TraceID, e.SpanID)
			}
		}
	}
	return all
}
