package mesh_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/inbound/audit"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// scenes make every metric of the table happen, with every label. Whoever adds a
// row adds a scene, or something to one. A scene leaves its mesh open: some
// metrics are asked for when they are collected.
var scenes = map[string]func(t *testing.T, tel mesh.TelemetryOptions){
	"HTTP calls that fail, are tried again, and are not any more": func(t *testing.T, tel mesh.TelemetryOptions) {
		var n atomic.Int32
		serve := func(w http.ResponseWriter, _ *http.Request) { answers(503, 200, 503)(w, n.Add(1)) }
		terms := toSubset()
		terms.Breaker, terms.Balancer = policy.Breaker{Failures: 3}, policy.Balancer{PanicPercent: -1}
		get(t, newMesh(t, mesh.Options{Telemetry: tel, Discovery: addresses{"web": {web(t, serve)}}, Defaults: terms}), "http://web/", 4)
		terms.Breaker, terms.Retry = policy.Breaker{Open: policy.Off}, policy.Retry{Attempts: 1}
		terms.Ejection = policy.Ejection{Failures: 1, Base: policy.Duration(time.Minute), MaxPercent: 100}
		get(t, newMesh(t, mesh.Options{Telemetry: tel, Discovery: addresses{"web": {web(t, unavailable), web(t, unavailable)}}, Defaults: terms}), "http://web/", 2)
	},
	"gRPC calls": func(t *testing.T, tel mesh.TelemetryOptions) {
		p := &payments{unary: busyOnce}
		client := dialled(t, newMesh(t, mesh.Options{Telemetry: tel, Discovery: addresses{"payments": p.three(t)}, Defaults: toSubset()}))
		for range 2 {
			_, _ = client.UnaryCall(limited(t), &grpc_testing.SimpleRequest{})
		}
	},
	"faults on purpose": func(t *testing.T, tel mesh.TelemetryOptions) {
		get(t, newMesh(t, mesh.Options{
			Telemetry: tel, Discovery: addresses{"web": {web(t, ok)}}, Defaults: drill(policy.Injection{Status: 503}),
		}), "http://web/", 1)
	},
	"copies": func(t *testing.T, tel mesh.TelemetryOptions) {
		terms := toSubset()
		terms.Mirror = []policy.Mirror{{Subset: "all", MaxBytes: 1}}
		m := newMesh(t, mesh.Options{Telemetry: tel, Discovery: addresses{"web": {web(t, ok)}}, Defaults: terms})
		res, err := m.HTTPClient().Post("http://web/", "", strings.NewReader("too long"))
		if err != nil {
			t.Fatal(err)
		}
		read(t, res)
	},
	"hedges": func(t *testing.T, tel mesh.TelemetryOptions) {
		var n atomic.Int32
		hesitant := func(_ http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 1 {
				<-r.Context().Done()
			}
		}
		get(t, newMesh(t, mesh.Options{
			Telemetry: tel, Discovery: addresses{"web": {web(t, hesitant), web(t, hesitant)}}, Defaults: hedging(time.Millisecond),
		}), "http://web/", 1)
	},
	"limits": func(t *testing.T, tel mesh.TelemetryOptions) {
		limits := func(l policy.Limits) *mesh.Mesh {
			terms := toSubset()
			terms.Limits = l
			return newMesh(t, mesh.Options{Telemetry: tel, Discovery: addresses{"web": {web(t, ok)}}, Defaults: terms})
		}
		get(t, limits(policy.Limits{Rate: policy.Rate{PerSecond: 4, Burst: 1, Wait: policy.Duration(time.Minute)}}), "http://web/", 2)
		get(t, limits(policy.Limits{Rate: policy.Rate{PerSecond: 0.001, Burst: 1}, Connections: 10, Pending: 10}), "http://web/", 2)
	},
	"documents": func(t *testing.T, tel mesh.TelemetryOptions) {
		file := filepath.Join(t.TempDir(), "policy.yaml")
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("services:\n  web: {timeout: {total: 9s}}\n")
		m := newMesh(t, mesh.Options{Telemetry: tel, Discovery: addresses{"web": {web(t, ok)}}, PolicyFile: file})
		get(t, m, "http://web/", 1)
		write("services:\n  web: {timeout: nonsense}\n")
		eventually(t, patience, "the document is refused", func() bool {
			e, err := m.Explain(t.Context(), request(t, http.MethodGet, "http://web/", nil))
			return err == nil && len(e.Refused) > 0
		})
	},
	"calls that come in": func(t *testing.T, tel mesh.TelemetryOptions) {
		m := newMesh(t, mesh.Options{Telemetry: tel, Discovery: discovery.Static{}, Server: mesh.ServerOptions{
			Inbound: policy.Inbound{Rate: policy.InboundRate{PerSecond: 0.001, Burst: 1}},
		}})
		mux := http.NewServeMux()
		mux.HandleFunc("/items/{id}", unavailable)
		h := m.Middleware(mux)
		for range 2 {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/items/1", nil))
		}
		p := &payments{unary: func(context.Context, int32) error { panic("broken") }}
		m = newMesh(t, mesh.Options{Telemetry: tel, Discovery: discovery.Static{}})
		addr, _ := p.start(t, m.GRPCServerOptions()...)
		_, _ = dialled(t, newMesh(t, mesh.Options{Telemetry: tel, Discovery: addresses{"payments": {addr}}})).UnaryCall(limited(t), &grpc_testing.SimpleRequest{})
	},
	"callers who may": func(t *testing.T, tel mesh.TelemetryOptions) {
		m := developed(t, devCA(t), "web", mesh.Options{Telemetry: tel, TLS: mesh.TLSOptions{Mode: mesh.TLSPermissive}, Server: mesh.ServerOptions{
			Access: mesh.AccessOptions{Mode: mesh.AccessEnforce, Audit: audit.Options{Handler: slog.DiscardHandler}},
		}})
		m.Middleware(http.HandlerFunc(ok)).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	},
	"requests with a key": func(t *testing.T, tel mesh.TelemetryOptions) {
		h := guarded(t, newMesh(t, mesh.Options{Telemetry: tel, Discovery: discovery.Static{}})).Middleware(http.HandlerFunc(ok))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		r.Header.Set(idempotency.Header, `"key-of-this-request"`)
		h.ServeHTTP(httptest.NewRecorder(), r)
	},
	"peers that are refused": func(t *testing.T, tel mesh.TelemetryOptions) {
		m := developed(t, devCA(t), "web", mesh.Options{Telemetry: tel, TLS: mesh.TLSOptions{Mode: mesh.TLSPermissive}})
		addr := servedHTTP(t, m, http.HandlerFunc(ok))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{DisableKeepAlives: true}
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		read(t, res)
		stranger := developed(t, devCA(t), "checkout", mesh.Options{Telemetry: tel, Discovery: addresses{"web": {addr}}})
		get(t, stranger, "http://web/", 1)
	},
}

// toSubset is a route to a subset, so that both are among the labels.
func toSubset() policy.Service {
	return policy.Service{
		Subsets: map[string]policy.Subset{"all": {Filter: `Service.Port != 0`}},
		Routes:  []policy.Route{{Name: "any", To: []policy.Leg{{Target: policy.Target{Subset: "all"}}}}},
	}
}

// get makes some calls, however they end.
func get(t *testing.T, m *mesh.Mesh, url string, calls int) {
	t.Helper()
	for range calls {
		if res, err := page(t, m, url); err == nil {
			read(t, res)
		}
	}
}

// All metrics of the table are emitted, with all of their labels, and nothing
// that is not in the table.
func TestMetricsAreThoseOfTheTable(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	for _, name := range slices.Sorted(maps.Keys(scenes)) {
		scenes[name](t, mesh.TelemetryOptions{MeterProvider: provider})
	}
	rows := make(map[string]telemetry.Metric)
	for _, row := range telemetry.Metrics() {
		rows[row.Name] = row
	}
	labels := make(map[string]map[attribute.Key]bool)
	for _, m := range collect(t, reader) {
		row, known := rows[m.Name]
		if !known {
			t.Errorf("%s is not in the table", m.Name)
			continue
		}
		kind, buckets, series := shape(m)
		if kind != row.Kind || m.Unit != row.Unit || m.Description != row.Help || !slices.Equal(buckets, row.Buckets) {
			t.Errorf("%s is a %s in %q, %q, with the buckets %v; the table has %+v", m.Name, kind, m.Unit, m.Description, buckets, row)
		}
		labels[m.Name] = make(map[attribute.Key]bool)
		for _, set := range series {
			for _, l := range set.ToSlice() {
				labels[m.Name][l.Key] = true
				if !slices.Contains(row.Labels, l.Key) {
					t.Errorf("%s has the label %s, which the table does not have", m.Name, l.Key)
				}
			}
		}
	}
	for name, row := range rows {
		if labels[name] == nil {
			t.Errorf("%s was never emitted: add a scene", name)
			continue
		}
		for _, l := range row.Labels {
			if !labels[name][l] {
				t.Errorf("%s was never emitted with the label %s: add a scene", name, l)
			}
		}
	}
}

func collect(t *testing.T, reader sdkmetric.Reader) (all []metricdata.Metrics) {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	for _, scope := range data.ScopeMetrics {
		all = append(all, scope.Metrics...)
	}
	return all
}

// shape is what a metric is, in the words of the table.
func shape(m metricdata.Metrics) (kind telemetry.Kind, buckets []float64, series []attribute.Set) {
	switch data := m.Data.(type) {
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			buckets, series = p.Bounds, append(series, p.Attributes)
		}
		return telemetry.Histogram, buckets, series
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			series = append(series, p.Attributes)
		}
		return telemetry.Gauge, nil, series
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			series = append(series, p.Attributes)
		}
		if data.IsMonotonic {
			return telemetry.Counter, nil, series
		}
		return telemetry.UpDown, nil, series
	default:
		return telemetry.Kind(fmt.Sprintf("%T", data)), nil, nil
	}
}

// 100,000 calls to random paths, by random methods, from random peers to a server
// that answers with random statuses: what comes from outside makes no series
// without end, and is not among the values of labels.
func TestMetricsAreBounded(t *testing.T) {
	calls := 100_000
	if testing.Short() {
		calls = 10_000
	}
	reader := sdkmetric.NewManualReader(sdkmetric.WithTemporalitySelector(sdkmetric.DeltaTemporalitySelector))
	tel := mesh.TelemetryOptions{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithCardinalityLimit(1_000_000))}
	mux := http.NewServeMux()
	mux.HandleFunc("/known/{id}", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200 + rand.IntN(400)) })
	m := newMesh(t, mesh.Options{Telemetry: tel, Discovery: addresses{"web": {"127.0.0.1:1"}}, Defaults: policy.Service{Retry: policy.Retry{Attempts: 1}}})
	client := m.Transport(handled{m.Middleware(mux)})
	for i := range calls {
		r, err := http.NewRequestWithContext(t.Context(), fmt.Sprintf("M%d", i), fmt.Sprintf("http://web/known/secret-%d?q=secret-%d", i, i), nil)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			r.Method, r.URL.Path = http.MethodGet, fmt.Sprint("/secret-", i)
		}
		r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:%d", byte(i>>16), byte(i>>8), byte(i), 1024+i%60_000)
		r.Header.Set("User-Agent", fmt.Sprint("secret-", i))
		r.Header.Set("Innermesh-Caller", fmt.Sprint("secret-", i))
		if res, err := client.RoundTrip(r); err == nil {
			_ = res.Body.Close()
		}
	}
	for _, m := range collect(t, reader) {
		_, _, series := shape(m)
		if len(series) > 2_000 {
			t.Errorf("%s has %d series", m.Name, len(series))
		}
		for _, set := range series {
			if text := set.Encoded(attribute.DefaultEncoder()); strings.Contains(text, "secret") || strings.Contains(text, "10.") {
				t.Fatalf("%s tells what came from outside: %s", m.Name, text)
			}
		}
	}
}

// However many paths there are, a duration has a series for each route and one for
// what has none, at both ends.
func TestPathsMakeNoSeries(t *testing.T) {
	const routes = 7
	calls := 100_000
	if testing.Short() {
		calls = 10_000
	}
	reader := sdkmetric.NewManualReader()
	tel := mesh.TelemetryOptions{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithCardinalityLimit(1_000_000))}
	mux := http.NewServeMux()
	var terms policy.Service
	for i := range routes {
		mux.HandleFunc(fmt.Sprintf("GET /%d/{id}", i), ok)
		terms.Routes = append(terms.Routes, policy.Route{Name: fmt.Sprint("to ", i), Match: policy.Match{PathPrefix: fmt.Sprintf("/%d/", i)}})
	}
	m := newMesh(t, mesh.Options{Telemetry: tel, Discovery: addresses{"web": {"127.0.0.1:1"}}, Defaults: terms})
	client := m.Transport(handled{m.Middleware(mux)})
	for range calls {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://web/%d/%x", rand.IntN(routes+1), rand.Uint64()), nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
	seen := 0
	for _, m := range collect(t, reader) {
		if m.Name != "http.server.request.duration" && m.Name != "http.client.request.duration" {
			continue
		}
		seen++
		if _, _, series := shape(m); len(series) != routes+1 {
			t.Errorf("%s has %d series, want %d: %v", m.Name, len(series), routes+1, series)
		}
	}
	if seen != 2 {
		t.Errorf("%d durations", seen)
	}
}

// handled has a handler answer in the place of a network.
type handled struct{ http.Handler }

func (h handled) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}
