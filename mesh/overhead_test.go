package mesh_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

// What a call costs through the mesh, beside the same call without it. How it is
// measured, and what came of it: docs/performance.md.

// BenchmarkHTTPInstant is the cost of the path alone: the transport answers at
// once. Goals: ×time at most 2.5 and 6 allocations more; with the SDK 6 and 10.
func BenchmarkHTTPInstant(b *testing.B) {
	raw := &http.Client{Transport: instant{}}
	for _, tel := range telemetries {
		b.Run(tel.name, func(b *testing.B) {
			m := newMesh(b, mesh.Options{Discovery: addresses{"web": {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}}, Telemetry: tel.options()})
			meshed := &http.Client{Transport: m.Transport(instant{})}
			contest{callers: 1, round: 20_000}.run(b, getter(b, meshed, "http://web/"), way{"raw", getter(b, raw, "http://web/")})
		})
	}
}

// BenchmarkHTTPLoopback is a call to one of three servers, in the clear.
func BenchmarkHTTPLoopback(b *testing.B) {
	addrs := []string{web(b, ok), web(b, ok), web(b, ok)}
	m := newMesh(b, mesh.Options{Discovery: addresses{"web": addrs}})
	contest{callers: 16, round: 4_000}.run(b, getter(b, m.HTTPClient(), "http://web/"),
		way{"raw", getter(b, rawClient(b, nil), "http://"+addrs[0]+"/")})
}

// BenchmarkHTTPSecure is a call over mutual TLS, beside the same TLS without the
// mesh. Goals: ×cpu at most 1.12, ×p50 of a lone caller at most 1.08.
func BenchmarkHTTPSecure(b *testing.B) {
	ca := devCA(b)
	addr := secureWeb(b, ca, "web", ok)
	m := newMesh(b, mesh.Options{
		Discovery: addresses{"web": {addr}}, TLS: mesh.TLSOptions{Source: identity(b, ca, "checkout")},
	})
	loads(b, getter(b, m.HTTPClient(), "http://web/"),
		way{"raw", getter(b, rawClient(b, clientTLS(b, ca, "http/1.1")), "https://"+addr+"/")})
}

// BenchmarkGRPCUnary is a unary call over loopback. The mesh bounds each attempt
// and tells the server, which raw gRPC does not: hence the rival that has a
// deadline too, as a careful user would write it. Goals: ×cpu at most 1.08 and 10
// allocations more; with the SDK 1.2 and 16.
func BenchmarkGRPCUnary(b *testing.B) {
	addr := healthServer(b)
	raw := dialRaw(b, addr, insecure.NewCredentials())
	for _, tel := range telemetries {
		b.Run(tel.name, func(b *testing.B) {
			meshed := payClient(b, mesh.Options{Discovery: addresses{"pay": {addr}}, Telemetry: tel.options()})
			contest{callers: 16, round: 4_000}.run(b, checker(b, meshed), way{"raw", checker(b, raw)}, way{"timed", timed(b, raw)})
		})
	}
}

// BenchmarkGRPCDeadline is a unary call whose caller has a deadline, with the
// mesh and without.
func BenchmarkGRPCDeadline(b *testing.B) {
	addr := healthServer(b)
	meshed := payClient(b, mesh.Options{Discovery: addresses{"pay": {addr}}})
	contest{callers: 16, round: 4_000}.run(b, timed(b, meshed), way{"timed", timed(b, dialRaw(b, addr, insecure.NewCredentials()))})
}

// BenchmarkGRPCSecure is a unary call over mutual TLS.
func BenchmarkGRPCSecure(b *testing.B) {
	ca := devCA(b)
	addr := healthServer(b, grpc.Creds(credentials.NewTLS(
		tlsutil.ServerConfig(identity(b, ca, "pay"), tlsutil.AuthorizeAny(), tlsutil.Options{NextProtos: []string{"h2"}}))))
	meshed := payClient(b, mesh.Options{
		Discovery: addresses{"pay": {addr}}, TLS: mesh.TLSOptions{Source: identity(b, ca, "checkout")},
	})
	raw := dialRaw(b, addr, credentials.NewTLS(clientTLS(b, ca, "h2")))
	loads(b, checker(b, meshed), way{"raw", checker(b, raw)}, way{"timed", timed(b, raw)})
}

// loads compares under sixteen callers and with one alone.
func loads(b *testing.B, mesh func(), rivals ...way) {
	b.Helper()
	b.Run("busy", func(b *testing.B) { contest{callers: 16, round: 4_000}.run(b, mesh, rivals...) })
	b.Run("alone", func(b *testing.B) { contest{callers: 1, round: 2_000, latency: true}.run(b, mesh, rivals...) })
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

// rawClient has the settings of net/http's default transport, and enough idle
// connections for all callers.
func rawClient(b *testing.B, secure *tls.Config) *http.Client {
	b.Helper()
	t := &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 256, IdleConnTimeout: 90 * time.Second, TLSClientConfig: secure}
	b.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

func checker(b *testing.B, conn *grpc.ClientConn) func() {
	client := healthpb.NewHealthClient(conn)
	return func() { check(b, context.Background(), client) }
}

// timed is checker with a deadline for each call, as far off as that of the mesh.
func timed(b *testing.B, conn *grpc.ClientConn) func() {
	client := healthpb.NewHealthClient(conn)
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 7500*time.Millisecond)
		defer cancel()
		check(b, ctx, client)
	}
}

func check(b *testing.B, ctx context.Context, client healthpb.HealthClient) {
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		b.Error(err)
	}
}

func dialRaw(b *testing.B, addr string, secure credentials.TransportCredentials) *grpc.ClientConn {
	b.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(secure))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return conn
}

func payClient(b *testing.B, o mesh.Options) *grpc.ClientConn {
	b.Helper()
	conn, err := newMesh(b, o).GRPCClient("pay")
	if err != nil {
		b.Fatal(err)
	}
	return conn
}

// clientTLS is what a client without the mesh would use for the same TLS.
func clientTLS(b *testing.B, ca *tlsutil.DevCA, alpn string) *tls.Config {
	b.Helper()
	return tlsutil.ClientConfig(identity(b, ca, "checkout"), tlsutil.AuthorizeAny(), tlsutil.Options{NextProtos: []string{alpn}})
}

func healthServer(tb testing.TB, o ...grpc.ServerOption) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := grpc.NewServer(o...)
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
