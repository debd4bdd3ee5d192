package bench

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric"
	nometrics "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	nospans "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
)

// What it costs to trace each call: a call through the mesh with the SDK's
// tracing over the same without, beside what otelhttp and otelgrpc add to a call
// without the mesh. The mesh makes two spans of a call that goes out, they make
// one. Goal: at most 0.7 of their time and allocations, of both ends together as
// programs have them.

// BenchmarkTracedHTTP is over a transport and to a handler that answer at once, and
// over loopback.
func BenchmarkTracedHTTP(b *testing.B) {
	answer := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	client := func(theirs mesh.TelemetryOptions, base http.RoundTripper) http.RoundTripper {
		return otelhttp.NewTransport(base, otelhttp.WithTracerProvider(theirs.TracerProvider),
			otelhttp.WithMeterProvider(theirs.MeterProvider), otelhttp.WithPropagators(theirs.Propagator))
	}
	server := func(theirs mesh.TelemetryOptions) http.Handler {
		return otelhttp.NewHandler(answer, "serve", otelhttp.WithTracerProvider(theirs.TracerProvider),
			otelhttp.WithMeterProvider(theirs.MeterProvider), otelhttp.WithPropagators(theirs.Propagator))
	}
	for _, s := range sdks {
		b.Run("client/"+s.name, func(b *testing.B) {
			plain, traced := join(b, off(), "127.0.0.1:1"), join(b, s.make(), "127.0.0.1:1")
			added(b, 10_000, 1,
				getter(b, plain.Transport(instant{}), "web"), getter(b, traced.Transport(instant{}), "web"),
				getter(b, instant{}, "web"), getter(b, client(s.make(), instant{}), "web"))
		})
		b.Run("server/"+s.name, func(b *testing.B) {
			plain, traced := join(b, off(), "127.0.0.1:1"), join(b, s.make(), "127.0.0.1:1")
			added(b, 10_000, 1,
				served(plain.Middleware(answer)), served(traced.Middleware(answer)),
				served(answer), served(server(s.make())))
		})
		b.Run("both/"+s.name, func(b *testing.B) {
			meshed := func(o mesh.TelemetryOptions) func() {
				addr := web(b, join(b, o, "127.0.0.1:1").Middleware(answer))
				return getter(b, join(b, o, addr).Transport(nil), "web")
			}
			raw := &http.Transport{MaxIdleConnsPerHost: callers}
			b.Cleanup(raw.CloseIdleConnections)
			theirs := s.make()
			added(b, 1_600, callers, meshed(off()), meshed(s.make()),
				getter(b, raw, web(b, answer)), getter(b, client(theirs, raw), web(b, server(theirs))))
		})
	}
}

// BenchmarkTracedGRPC is a unary call over loopback.
func BenchmarkTracedGRPC(b *testing.B) {
	meshed := func(b *testing.B, o mesh.TelemetryOptions, server ...grpc.ServerOption) func() {
		b.Helper()
		conn, err := join(b, o, checked(b, server...)).GRPCClient("web")
		if err != nil {
			b.Fatal(err)
		}
		return checker(b, conn)
	}
	direct := func(b *testing.B, server []grpc.ServerOption, client ...grpc.DialOption) func() {
		b.Helper()
		conn, err := grpc.NewClient(checked(b, server...), append(client, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		return checker(b, conn)
	}
	client := func(o mesh.TelemetryOptions) grpc.DialOption {
		return grpc.WithStatsHandler(otelgrpc.NewClientHandler(otelgrpc.WithTracerProvider(o.TracerProvider),
			otelgrpc.WithMeterProvider(o.MeterProvider), otelgrpc.WithPropagators(o.Propagator)))
	}
	server := func(o mesh.TelemetryOptions) []grpc.ServerOption {
		return []grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler(otelgrpc.WithTracerProvider(o.TracerProvider),
			otelgrpc.WithMeterProvider(o.MeterProvider), otelgrpc.WithPropagators(o.Propagator)))}
	}
	ours := func(o mesh.TelemetryOptions) []grpc.ServerOption {
		return join(b, o, "127.0.0.1:1").GRPCServerOptions()
	}
	for _, s := range sdks {
		b.Run("client/"+s.name, func(b *testing.B) {
			added(b, 1_600, callers, meshed(b, off()), meshed(b, s.make()), direct(b, nil), direct(b, nil, client(s.make())))
		})
		b.Run("server/"+s.name, func(b *testing.B) {
			added(b, 1_600, callers, direct(b, ours(off())), direct(b, ours(s.make())), direct(b, nil), direct(b, server(s.make())))
		})
		b.Run("both/"+s.name, func(b *testing.B) {
			traced, theirs := s.make(), s.make()
			added(b, 1_600, callers, meshed(b, off(), ours(off())...), meshed(b, traced, ours(traced)...),
				direct(b, nil), direct(b, server(theirs), client(theirs)))
		})
	}
}

// callers is how many there are over loopback: with one alone the processors look
// for work most of the time, which costs as well.
const callers = 16

// added runs four ways of making a call in turns: ours without and with
// telemetry, theirs without and with. It reports what telemetry adds to each, and
// ours over theirs.
func added(b *testing.B, calls, callers int, ways ...func()) {
	b.Helper()
	var times, allocs [4][]float64 // processor time, as the machine may be busy
	for n := 0; b.Loop(); n++ {
		for i := range ways {
			i = (i + n) % len(ways) // nobody always follows the same one
			took, made := turn(calls, callers, ways[i])
			if n > 0 { // the first turn makes connections and series
				times[i], allocs[i] = append(times[i], took), append(allocs[i], made)
			}
		}
	}
	if len(times[0]) == 0 {
		return
	}
	diff := func(of [4][]float64, with int) float64 {
		rounds := make([]float64, len(of[0]))
		for i := range rounds {
			rounds[i] = of[with][i] - of[with-1][i]
		}
		return middle(rounds)
	}
	b.ReportMetric(diff(times, 1), "+ns/ours")
	b.ReportMetric(diff(times, 3), "+ns/theirs")
	b.ReportMetric(diff(times, 1)/diff(times, 3), "×time")
	b.ReportMetric(diff(allocs, 1), "+allocs/ours")
	b.ReportMetric(diff(allocs, 3), "+allocs/theirs")
	b.ReportMetric(diff(allocs, 1)/diff(allocs, 3), "×allocs")
}

func turn(calls, callers int, call func()) (ns, allocs float64) {
	var before, after runtime.MemStats
	runtime.GC() // each pays for its own garbage
	runtime.ReadMemStats(&before)
	start := cpuTime()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range calls / callers {
				call()
			}
		})
	}
	all.Wait()
	took := cpuTime() - start
	runtime.ReadMemStats(&after)
	return float64(took) / float64(calls), float64(after.Mallocs-before.Mallocs) / float64(calls)
}

// cpuTime is what all threads of the process have used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func middle(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// sdks are the ways to record: spans alone, of each call, and metrics as well.
var sdks = []struct {
	name string
	make func() mesh.TelemetryOptions
}{
	{"spans", func() mesh.TelemetryOptions { return recording(nometrics.NewMeterProvider()) }},
	{"spans+metrics", func() mesh.TelemetryOptions {
		return recording(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())))
	}},
}

func recording(meters metric.MeterProvider) mesh.TelemetryOptions {
	return telemetry(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(dropped{})), meters)
}

func off() mesh.TelemetryOptions {
	return telemetry(nospans.NewTracerProvider(), nometrics.NewMeterProvider())
}

func telemetry(spans trace.TracerProvider, meters metric.MeterProvider) mesh.TelemetryOptions {
	return mesh.TelemetryOptions{
		TracerProvider: spans, MeterProvider: meters,
		Propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
	}
}

// dropped takes spans and does nothing with them: exporting them costs the same
// whoever made them.
type dropped struct{}

func (dropped) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (dropped) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (dropped) Shutdown(context.Context) error                  { return nil }
func (dropped) ForceFlush(context.Context) error                { return nil }

func join(tb testing.TB, o mesh.TelemetryOptions, addr string) *mesh.Mesh {
	tb.Helper()
	m, err := mesh.New(tb.Context(), mesh.Options{
		Service: "bench", Telemetry: o, Logger: slog.New(slog.DiscardHandler),
		Discovery: discovery.Static{"web": {addr}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

// instant is a transport that answers at once.
type instant struct{}

func (instant) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: io.NopCloser(eof{}), Request: r}, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

func getter(b *testing.B, through http.RoundTripper, host string) func() {
	b.Helper()
	c := &http.Client{Transport: through}
	return func() {
		res, err := c.Get("http://" + host + "/")
		if err != nil {
			b.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}

func served(h http.Handler) func() {
	r := httptest.NewRequest(http.MethodGet, "http://web/", http.NoBody)
	return func() { h.ServeHTTP(httptest.NewRecorder(), r) }
}

func checker(b *testing.B, conn *grpc.ClientConn) func() {
	client := healthpb.NewHealthClient(conn)
	return func() {
		if _, err := client.Check(b.Context(), &healthpb.HealthCheckRequest{}); err != nil {
			b.Error(err)
		}
	}
}
