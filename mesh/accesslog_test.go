package mesh_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// accessLines is where an access log is written to.
type accessLines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *accessLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *accessLines) all(t *testing.T) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// Each call has one line when its answer has ended, at both ends, with its trace
// and without what is secret.
func TestAccessLog(t *testing.T) {
	var client, server accessLines
	tracer := sdktrace.NewTracerProvider()
	backend := newMesh(t, mesh.Options{Discovery: addresses{}, Telemetry: mesh.TelemetryOptions{
		TracerProvider: tracer, AccessLog: slog.NewJSONHandler(&server, nil),
	}})
	mux := http.NewServeMux()
	mux.HandleFunc("/items/{id}", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("secret")) })
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {web(t, backend.Middleware(mux).ServeHTTP)}, "none": {}},
		Telemetry: mesh.TelemetryOptions{TracerProvider: tracer, AccessLog: slog.NewJSONHandler(&client, nil)},
		Defaults:  policy.Service{Routes: []policy.Route{{Name: "all"}}},
	})
	r := request(t, http.MethodGet, "http://web/items/42?token=secret", nil)
	r.Header.Set("Authorization", "secret")
	res, err := m.HTTPClient().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(client.all(t)); n != 0 {
		t.Errorf("%d lines before the answer has ended", n)
	}
	read(t, res)
	if _, err := page(t, m, "http://none/"+strings.Repeat("long", 1000)); err == nil {
		t.Error("nobody has answered")
	}
	p := &payments{}
	addr, _ := p.start(t, backend.GRPCServerOptions()...)
	conn := newMesh(t, mesh.Options{
		Discovery: addresses{"payments": {addr}}, Telemetry: mesh.TelemetryOptions{AccessLog: slog.NewJSONHandler(&client, nil)},
	})
	if _, err := dialled(t, conn).UnaryCall(limited(t), &grpc_testing.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}

	all := slices.Concat(client.all(t), server.all(t))
	if len(all) != 5 {
		t.Fatalf("%d lines, want 5: %v", len(all), all)
	}
	trace := all[0]["trace_id"]
	for i, want := range []map[string]any{
		{"msg": "called", "source": "checkout", "service": "web", "destination": "web", "route": "all", "protocol": "http",
			"method": "GET", "path": "/items/42", "status": 200.0, "reason": "ok", "attempts": 1.0},
		{"msg": "called", "source": "checkout", "service": "none", "destination": "none", "route": "all", "protocol": "http",
			"method": "GET", "path": ("/" + strings.Repeat("long", 1000))[:256], "reason": "rejected", "attempts": 0.0},
		{"msg": "called", "source": "checkout", "service": "payments", "destination": "payments", "protocol": "grpc",
			"method": "grpc.testing.TestService/UnaryCall", "status": "OK", "reason": "ok", "attempts": 1.0},
		{"msg": "served", "service": "checkout", "route": "/items/{id}", "protocol": "http", "method": "GET", "path": "/items/42", "status": 200.0},
		{"msg": "served", "service": "checkout", "protocol": "grpc", "method": "grpc.testing.TestService/UnaryCall", "status": "OK"},
	} {
		got := all[i]
		if got["took"] == nil || i < 2 && got["trace_id"] == nil || i == 3 && got["trace_id"] != trace {
			t.Errorf("line %d lacks its time or its trace: %v", i, got)
		}
		for _, varies := range []string{"time", "level", "took", "answered", "trace_id", "span_id", "request_id", "instance"} {
			delete(got, varies)
		}
		if !maps.Equal(got, want) {
			t.Errorf("line %d is %v\nwant %v", i, got, want)
		}
	}
	if strings.Contains(client.text.String()+server.text.String(), "secret") {
		t.Error("a secret is in the log")
	}
}
