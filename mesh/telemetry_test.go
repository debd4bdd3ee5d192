package mesh_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/innermesh/innermesh/mesh"
)

// A call that was retried once has one span for the call and one for each
// attempt, the trace travels with each, and the metrics count both attempts.
func TestRetriedCallIsRecorded(t *testing.T) {
	var calls atomic.Int64
	parents := make(chan string, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parents <- r.Header.Get("Traceparent")
		if calls.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	spans, reader := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {server.Listener.Addr().String()}},
		Telemetry: mesh.TelemetryOptions{
			TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
			MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
		},
	})
	if body, err := bodyOf(m.HTTPClient(), "http://web/secret/path"); err != nil || body != "200 " {
		t.Fatalf("got %q, %v", body, err)
	}

	ended := spans.Ended()
	if len(ended) != 3 {
		t.Fatalf("%d spans, want one for the call and two for its attempts", len(ended))
	}
	whole := ended[2]
	for i, attempt := range ended[:2] {
		if attempt.Parent().SpanID() != whole.SpanContext().SpanID() {
			t.Errorf("attempt %d is no child of the call", i+1)
		}
		if got, want := <-parents, attempt.SpanContext().SpanID().String(); len(got) != 55 || got[36:52] != want {
			t.Errorf("attempt %d carried %q, want its own span %s", i+1, got, want)
		}
		if attempt.Name() != "GET web" {
			t.Errorf("attempt %d is called %q", i+1, attempt.Name())
		}
	}
	if events := whole.Events(); len(events) != 1 || events[0].Name != "retry" {
		t.Errorf("events of the call: %+v", events)
	}

	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int64)
	for _, scope := range all.ScopeMetrics {
		for _, metric := range scope.Metrics {
			switch data := metric.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					reason, _ := p.Attributes.Value("innermesh.reason")
					got[metric.Name+" "+reason.AsString()] += p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					got[metric.Name] += int64(p.Count)
					if p.Attributes.HasValue(attribute.Key("url.path")) {
						t.Error("a path is a label")
					}
				}
			}
		}
	}
	for name, want := range map[string]int64{
		"http.client.request.duration":          1,
		"innermesh.client.attempts ok":          1,
		"innermesh.client.attempts unavailable": 1,
		"innermesh.client.inflight ":            0,
	} {
		if n, ok := got[name]; !ok || n != want {
			t.Errorf("%s = %d (there: %v), want %d", name, n, ok, want)
		}
	}
}
