package bench

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/contrib/propagators/b3"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/innermesh/innermesh/mesh"
)

// Beside the real otelhttp and otelgrpc, around the mesh on both sides: a call has
// their client's span, our attempt under it, and their server's span under that.
// There is no second span of the call or of the server.
func TestNoDoubleSpans(t *testing.T) {
	for name, call := range map[string]func(*testing.T, mesh.TelemetryOptions){"HTTP": besideHTTP, "gRPC": besideGRPC} {
		t.Run(name, func(t *testing.T) {
			spans := tracetest.NewSpanRecorder()
			o := mesh.TelemetryOptions{
				TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)), Propagator: propagation.TraceContext{},
			}
			call(t, o)
			wait(t, func() bool { return len(spans.Ended()) == len(spans.Started()) })
			kinds := make(map[trace.SpanKind]int)
			ids := make(map[trace.TraceID]bool)
			for _, s := range spans.Ended() {
				kinds[s.SpanKind()]++
				ids[s.SpanContext().TraceID()] = true
			}
			want := map[string]map[trace.SpanKind]int{
				"HTTP": {trace.SpanKindClient: 2, trace.SpanKindServer: 1},
				"gRPC": {trace.SpanKindInternal: 1, trace.SpanKindClient: 1, trace.SpanKindServer: 1},
			}[name]
			for kind, n := range want {
				if kinds[kind] != n {
					t.Errorf("%d spans of kind %v, want %d", kinds[kind], kind, n)
				}
			}
			if len(spans.Ended()) != 3 || len(ids) != 1 {
				t.Errorf("%d spans in %d traces, want 3 in one", len(spans.Ended()), len(ids))
			}
		})
	}
}

// B3 in one header and in several, and baggage, there and back again over both
// protocols, with the propagator of OpenTelemetry.
func TestB3AndBaggageTravel(t *testing.T) {
	for name, p := range map[string]propagation.TextMapPropagator{
		"one header": b3.New(b3.WithInjectEncoding(b3.B3SingleHeader)), "several": b3.New(b3.WithInjectEncoding(b3.B3MultipleHeader)),
	} {
		for protocol, call := range map[string]func(context.Context, *testing.T, mesh.TelemetryOptions) context.Context{
			"HTTP": overHTTP, "gRPC": overGRPC,
		} {
			t.Run(protocol+", "+name, func(t *testing.T) {
				provider := sdktrace.NewTracerProvider()
				tenant, err := baggage.NewMember("tenant", "blue")
				if err != nil {
					t.Fatal(err)
				}
				bag, err := baggage.New(tenant)
				if err != nil {
					t.Fatal(err)
				}
				ctx, span := provider.Tracer("test").Start(baggage.ContextWithBaggage(t.Context(), bag), "buy")
				there := call(ctx, t, mesh.TelemetryOptions{
					TracerProvider: provider, Propagator: propagation.NewCompositeTextMapPropagator(p, propagation.Baggage{}),
				})
				if got := trace.SpanContextFromContext(there).TraceID(); got != span.SpanContext().TraceID() {
					t.Errorf("the handler is in the trace %s, want %s", got, span.SpanContext().TraceID())
				}
				if got := baggage.FromContext(there).Member("tenant").Value(); got != "blue" {
					t.Errorf("the handler's baggage has %q", got)
				}
			})
		}
	}
}

func besideHTTP(t *testing.T, o mesh.TelemetryOptions) {
	t.Helper()
	theirs := []otelhttp.Option{otelhttp.WithTracerProvider(o.TracerProvider), otelhttp.WithPropagators(o.Propagator)}
	h := otelhttp.NewHandler(join(t, o, "127.0.0.1:1").Middleware(http.NotFoundHandler()), "serve", theirs...)
	ask(t.Context(), t, otelhttp.NewTransport(join(t, o, web(t, h)).Transport(nil), theirs...))
}

func besideGRPC(t *testing.T, o mesh.TelemetryOptions) {
	t.Helper()
	theirs := grpc.StatsHandler(otelgrpc.NewServerHandler(otelgrpc.WithTracerProvider(o.TracerProvider), otelgrpc.WithPropagators(o.Propagator)))
	addr := checked(t, append(join(t, o, "127.0.0.1:1").GRPCServerOptions(), theirs)...)
	check(t.Context(), t, join(t, o, addr))
}

// overHTTP makes a call and returns the context of its handler.
func overHTTP(ctx context.Context, t *testing.T, o mesh.TelemetryOptions) (there context.Context) {
	t.Helper()
	h := join(t, o, "127.0.0.1:1").Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		there = context.WithoutCancel(r.Context()) //nolint:fatcontext // one call
	}))
	ask(ctx, t, join(t, o, web(t, h)).Transport(nil))
	return there
}

// overGRPC does the same.
func overGRPC(ctx context.Context, t *testing.T, o mesh.TelemetryOptions) (there context.Context) {
	t.Helper()
	keep := grpc.ChainUnaryInterceptor(func(ctx context.Context, in any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		there = context.WithoutCancel(ctx) //nolint:fatcontext // one call
		return next(ctx, in)
	})
	addr := checked(t, append(join(t, o, "127.0.0.1:1").GRPCServerOptions(), keep)...)
	check(ctx, t, join(t, o, addr))
	return there
}

func web(tb testing.TB, h http.Handler) (addr string) {
	tb.Helper()
	s := httptest.NewServer(h)
	tb.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.Listener.Addr().String()
}

func ask(ctx context.Context, t *testing.T, through http.RoundTripper) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://web/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: through}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

func checked(tb testing.TB, o ...grpc.ServerOption) (addr string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := grpc.NewServer(o...)
	healthpb.RegisterHealthServer(server, health.NewServer())
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	tb.Cleanup(func() { server.Stop(); <-done })
	return l.Addr().String()
}

func check(ctx context.Context, t *testing.T, m *mesh.Mesh) {
	t.Helper()
	conn, err := m.GRPCClient("web")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, new(healthpb.HealthCheckRequest)); err != nil {
		t.Fatal(err)
	}
}

// wait waits for what is done by others soon.
func wait(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}
