package mesh_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/saga"
)

// What a saga does belongs to the trace that it was started in: its steps, their
// further attempts, and what is taken back by another coordinator afterwards.
func TestSagasKeepTheirTrace(t *testing.T) {
	var mu sync.Mutex
	traces := map[string]string{} // by path, of the last request
	server := web(t, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		traces[r.URL.Path] = strings.Split(r.Header.Get("Traceparent")+"--", "-")[1]
	})
	provider := sdktrace.NewTracerProvider()
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {server}}, Telemetry: mesh.TelemetryOptions{TracerProvider: provider},
	})
	calls := func(path string, err error) func(context.Context, *struct{}) error {
		return func(ctx context.Context, _ *struct{}) error {
			res, failed := m.HTTPClient().Do(request(t, http.MethodPost, "http://web"+path, nil).WithContext(ctx))
			if failed != nil {
				return failed
			}
			read(t, res)
			return err
		}
	}
	def := &saga.Definition[struct{}]{Name: "order", Steps: []saga.Step[struct{}]{
		{Name: "reserve", Do: calls("/reserve", nil), Undo: calls("/unreserve", nil)},
		{Name: "charge", Do: calls("/charge", errors.New("no money")), Retry: saga.Retry{Attempts: 2, Base: time.Millisecond}},
	}}
	var log saga.Memory
	coordinator := func(definitions ...saga.Runnable) *saga.Coordinator {
		c, err := saga.New(saga.Options{Log: &log, Definitions: definitions, Trace: m.Trace(), Logger: quiet, Poll: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ctx, span := provider.Tracer("test").Start(t.Context(), "checkout")
	starter := coordinator(def)
	if err := saga.Start(ctx, starter, def, "one", struct{}{}); err != nil {
		t.Fatal(err)
	}
	span.End()
	if err := starter.Close(t.Context()); err != nil { // wherever it is by now
		t.Fatal(err)
	}
	other := coordinator(def)
	i, err := other.Wait(t.Context(), "one")
	if err != nil || i.Status != saga.Compensated {
		t.Fatalf("%v, %v", i, err)
	}
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := span.SpanContext().TraceID().String()
	mu.Lock()
	defer mu.Unlock()
	for _, path := range []string{"/reserve", "/charge", "/unreserve"} {
		if traces[path] != want {
			t.Errorf("%s belongs to the trace %q, want %q", path, traces[path], want)
		}
	}
	if i.Trace != nil {
		t.Errorf("people are shown %v, with whatever the baggage has", i.Trace)
	}
}
