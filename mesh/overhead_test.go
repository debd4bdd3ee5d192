package mesh_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
)

// The benchmarks measure a call through the mesh beside the same call without
// it, in turns within one run, as absolute times say nothing on a busy machine.
// The columns: ns of both, their ratio (×time, or ×cpu of the whole process
// where servers run in it too), and allocations of both.

// BenchmarkHTTPInstant is the cost of the path alone: the transport answers at
// once. Goals: ×time at most 2.5 and 6 allocations more; with the SDK 6 and 10.
func BenchmarkHTTPInstant(b *testing.B) {
	raw := &http.Client{Transport: instant{}}
	for _, tel := range telemetries {
		b.Run(tel.name, func(b *testing.B) {
			m := newMesh(b, mesh.Options{Discovery: addresses{"web": {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}}, Telemetry: tel.options()})
			compare(b, 1, 20_000, getter(b, raw, "http://web/"), getter(b, &http.Client{Transport: m.Transport(instant{})}, "http://web/"))
		})
	}
}

// BenchmarkHTTPLoopback is a call to one of three servers over loopback.
func BenchmarkHTTPLoopback(b *testing.B) {
	var addrs []string
	for range 3 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
		b.Cleanup(s.Close)
		addrs = append(addrs, s.Listener.Addr().String())
	}
	m := newMesh(b, mesh.Options{Discovery: addresses{"web": addrs}})
	raw := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	b.Cleanup(raw.CloseIdleConnections)
	compare(b, 16, 4_000, getter(b, raw, "http://"+addrs[0]+"/"), getter(b, m.HTTPClient(), "http://web/"))
}

// BenchmarkGRPCUnary is a unary call over loopback with 16 callers. Goals: ×cpu
// at most 1.08 and 10 allocations more; with the SDK 1.2 and 16.
func BenchmarkGRPCUnary(b *testing.B) {
	addr := healthServer(b)
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	for _, tel := range telemetries {
		b.Run(tel.name, func(b *testing.B) {
			m := newMesh(b, mesh.Options{Discovery: addresses{"pay": {addr}}, Telemetry: tel.options()})
			meshed, err := m.GRPCClient("pay")
			if err != nil {
				b.Fatal(err)
			}
			compare(b, 16, 4_000, checker(b, conn), checker(b, meshed))
		})
	}
}

// telemetries are what calls are recorded with.
var telemetries = []struct {
	name    string
	options func() mesh.TelemetryOptions
}{
	{"noop", func() mesh.TelemetryOptions { return mesh.TelemetryOptions{} }},
	{"sdk", func() mesh.TelemetryOptions {
		return mesh.TelemetryOptions{
			TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.TraceIDRatioBased(0.01))),
			MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
		}
	}},
}

// side is what one way of calling has cost.
type side struct {
	wall, cpu time.Duration
	mallocs   uint64
}

// compare runs raw and meshed in turns, in rounds of so many calls each, and
// reports the medians of both.
func compare(b *testing.B, callers, round int, raw, meshed func()) {
	b.Helper()
	each := func(call func()) side {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		cpu, start := cpuTime(), time.Now()
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range round / callers {
					call()
				}
			})
		}
		wg.Wait()
		s := side{wall: time.Since(start), cpu: cpuTime() - cpu}
		runtime.ReadMemStats(&after)
		s.mallocs = after.Mallocs - before.Mallocs
		return s
	}
	each(raw) // connections are made, ways are found
	each(meshed)
	var rs, ms []side
	for b.Loop() {
		rs, ms = append(rs, each(raw)), append(ms, each(meshed))
	}
	per := float64(round / callers * callers)
	metric := func(of func(side) float64) (r, m float64) { return median(rs, of) / per, median(ms, of) / per }
	rw, mw := metric(func(s side) float64 { return float64(s.wall) })
	rc, mc := metric(func(s side) float64 { return float64(s.cpu) })
	ra, ma := metric(func(s side) float64 { return float64(s.mallocs) })
	b.ReportMetric(0, "ns/op") // of a round: tells nobody anything
	b.ReportMetric(rw, "raw-ns")
	b.ReportMetric(mw, "mesh-ns")
	b.ReportMetric(mw/rw, "×time")
	b.ReportMetric(mc/rc, "×cpu")
	b.ReportMetric(ra, "raw-allocs")
	b.ReportMetric(ma, "mesh-allocs")
}

func median(all []side, of func(side) float64) float64 {
	values := make([]float64, len(all))
	for i, s := range all {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// cpuTime is what all threads of the process have used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// instant is a transport that answers at once.
type instant struct{}

func (instant) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: io.NopCloser(eof{}), Request: r}, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

func getter(b *testing.B, c *http.Client, url string) func() {
	return func() {
		res, err := c.Get(url)
		if err != nil {
			b.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}

func checker(b *testing.B, conn *grpc.ClientConn) func() {
	client := healthpb.NewHealthClient(conn)
	return func() {
		if _, err := client.Check(context.Background(), &healthpb.HealthCheckRequest{}); err != nil {
			b.Error(err)
		}
	}
}

func healthServer(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, health.NewServer())
	go func() { _ = s.Serve(l) }()
	tb.Cleanup(s.Stop)
	return l.Addr().String()
}

// addresses is a fixed list of instances.
type addresses map[string][]string

func (a addresses) Watch(ctx context.Context, service string, tell func(discovery.Update)) error {
	s := discovery.Snapshot{Unknown: a[service] == nil}
	for _, addr := range a[service] {
		s.Instances = append(s.Instances, discovery.Instance{ID: addr, Address: addr})
	}
	tell(discovery.Update{Snapshot: s})
	<-ctx.Done()
	return fmt.Errorf("watch: %w", ctx.Err())
}

func newMesh(tb testing.TB, o mesh.Options) *mesh.Mesh {
	tb.Helper()
	o.Service = "checkout"
	o.Logger = slog.New(slog.DiscardHandler)
	m, err := mesh.New(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}
