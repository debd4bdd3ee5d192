package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

// guarded is a guard of m with a store of its own.
func guarded(tb testing.TB, m *mesh.Mesh) *idempotency.Guard {
	tb.Helper()
	store, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	guard, err := m.IdempotencyGuard(idempotency.Options{Store: store})
	if err != nil {
		tb.Fatal(err)
	}
	return guard
}

// callers are meshes of two services, and one more of the first.
func callers(t *testing.T, ca *tlsutil.DevCA, d addresses) map[string]*mesh.Mesh {
	t.Helper()
	all := map[string]*mesh.Mesh{}
	for name, service := range map[string]string{"checkout": "checkout", "another checkout": "checkout", "billing": "billing"} {
		all[name] = newMesh(t, mesh.Options{
			Service: service, Discovery: d, TLS: mesh.TLSOptions{Source: identity(t, ca, service)},
		})
	}
	return all
}

// order in which the callers come, and whether they are answered as a repeat.
var order = []struct {
	caller   string
	repeated bool
}{
	{"checkout", false}, {"checkout", true}, {"another checkout", true}, {"billing", false}, {"billing", true},
}

// Callers of the mesh are told apart by what their certificates prove, over both
// protocols: one never sees the answer of another.
func TestIdempotencyTellsCallersApart(t *testing.T) {
	ca := devCA(t)
	server := newMesh(t, mesh.Options{Service: "web", Discovery: addresses{}, TLS: mesh.TLSOptions{Source: identity(t, ca, "web")}})

	t.Run("HTTP", func(t *testing.T) {
		var n atomic.Int32
		handler := guarded(t, server).Middleware(counted(&n, ok))
		all := callers(t, ca, addresses{"web": {secureWeb(t, ca, "web", handler.ServeHTTP)}})
		for i, o := range order {
			req := request(t, http.MethodPost, "http://web/orders", strings.NewReader("a chair"))
			req = req.WithContext(call.With(req.Context(), call.Options{Key: "order 42"}))
			res, err := all[o.caller].HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			read(t, res)
			if repeated := res.Header.Get(idempotency.ReplayedHeader) == "true"; res.StatusCode != http.StatusOK || repeated != o.repeated {
				t.Errorf("%d. %s: status %d, repeated %v, want %v", i, o.caller, res.StatusCode, repeated, o.repeated)
			}
		}
		if n.Load() != 2 {
			t.Errorf("carried out %d times, want once for each service", n.Load())
		}
	})

	t.Run("gRPC", func(t *testing.T) {
		p := new(payments)
		options, err := server.IdempotencyServerOptions(mesh.IdempotencyOptions{Guard: guarded(t, server)})
		if err != nil {
			t.Fatal(err)
		}
		config := tlsutil.ServerConfig(identity(t, ca, "payments"), tlsutil.AuthorizeAny(), tlsutil.Options{})
		addr, _ := p.start(t, append(options, grpc.Creds(credentials.NewTLS(config)))...)
		all := callers(t, ca, addresses{"payments": {addr}})
		for i, o := range order {
			var header metadata.MD
			ctx := call.With(limited(t), call.Options{Key: "order 42"})
			if _, err := dialled(t, all[o.caller]).UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.Header(&header)); err != nil {
				t.Fatal(err)
			}
			if repeated := len(header.Get(idempotency.ReplayedMetadata)) > 0; repeated != o.repeated {
				t.Errorf("%d. %s: repeated %v, want %v", i, o.caller, repeated, o.repeated)
			}
		}
		if p.calls.Load() != 2 {
			t.Errorf("carried out %d times, want once for each service", p.calls.Load())
		}
	})
}

// A call whose answer is lost is made again with its key, and acts once.
func TestIdempotencyOfLostAnswers(t *testing.T) {
	server := newMesh(t, mesh.Options{Service: "web", Discovery: addresses{}})

	t.Run("HTTP", func(t *testing.T) {
		var acts, requests atomic.Int32
		inner := guarded(t, server).Middleware(counted(&acts, ok))
		h := func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) == 1 {
				inner.ServeHTTP(discarded{}, r)
				panic(http.ErrAbortHandler)
			}
			inner.ServeHTTP(w, r)
		}
		m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, h), web(t, h)}}})
		req := request(t, http.MethodPost, "http://web/orders", strings.NewReader("a chair"))
		req = req.WithContext(call.With(req.Context(), call.Options{Keyed: true}))
		res, err := m.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if body := read(t, res); body != "ok" || res.Header.Get(idempotency.ReplayedHeader) != "true" || acts.Load() != 1 || requests.Load() != 2 {
			t.Errorf("answer %q, header %v; acted %d times for %d requests", body, res.Header, acts.Load(), requests.Load())
		}
	})

	t.Run("gRPC", func(t *testing.T) {
		p := new(payments)
		options, err := server.IdempotencyServerOptions(mesh.IdempotencyOptions{Guard: guarded(t, server)})
		if err != nil {
			t.Fatal(err)
		}
		var requests atomic.Int32
		lose := grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			res, err := next(ctx, req)
			if requests.Add(1) == 1 {
				return nil, status.Error(codes.Unavailable, "the answer is lost")
			}
			return res, err
		})
		var addrs []string
		for range 2 {
			addr, _ := p.start(t, append([]grpc.ServerOption{lose}, options...)...)
			addrs = append(addrs, addr)
		}
		m := newMesh(t, mesh.Options{Discovery: addresses{"payments": addrs}})
		ctx := call.With(limited(t), call.Options{Keyed: true})
		if _, err := dialled(t, m).UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
		if p.calls.Load() != 1 || requests.Load() != 2 {
			t.Errorf("acted %d times for %d requests", p.calls.Load(), requests.Load())
		}
	})
}

// discarded is an answer that nobody gets.
type discarded struct{}

func (discarded) Header() http.Header         { return http.Header{} }
func (discarded) Write(b []byte) (int, error) { return len(b), nil }
func (discarded) WriteHeader(int)             {}

func TestIdempotencyIsCounted(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	m := newMesh(t, mesh.Options{
		Discovery: addresses{}, Telemetry: mesh.TelemetryOptions{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))},
	})
	handlers := []http.Handler{guarded(t, m).Middleware(http.HandlerFunc(ok)), guarded(t, m).Middleware(http.HandlerFunc(ok))}
	for i := range 3 {
		for _, h := range handlers {
			req := request(t, http.MethodPost, "http://web/", strings.NewReader("body"))
			req.Header.Set(idempotency.Header, fmt.Sprintf("key-%d", i/2))
			h.ServeHTTP(discarded{}, req)
		}
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, metric := range scope.Metrics {
			if sum, ok := metric.Data.(metricdata.Sum[int64]); ok && metric.Name == "innermesh.idempotency.requests" {
				for _, p := range sum.DataPoints {
					result, _ := p.Attributes.Value("innermesh.result")
					got[result.AsString()] = p.Value
				}
			}
		}
	}
	if len(got) != 14 || got["first"] != 4 || got["replayed"] != 2 || got["mismatch"] != 0 {
		t.Errorf("counted %v", got)
	}
}

func TestIdempotencyNeedsGuardAndStore(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{}})
	if _, err := m.IdempotencyGuard(idempotency.Options{}); err == nil {
		t.Error("a guard without a store")
	}
	_, err := m.IdempotencyServerOptions(mesh.IdempotencyOptions{})
	if _, ok := errors.AsType[*mesh.OptionError](err); !ok {
		t.Errorf("server options without a guard: %v", err)
	}
}
