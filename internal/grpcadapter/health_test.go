package grpcadapter

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/health"
)

// healthOf serves the health of a monitor whose other calls are all turned away,
// and returns a client.
func healthOf(t *testing.T, m *health.Monitor, done chan struct{}) healthpb.HealthClient {
	t.Helper()
	var h *Health
	refused := status.Error(codes.ResourceExhausted, "too much")
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(
			func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
				return h.Unary(func() {})(ctx, req, info, next)
			},
			func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) { return nil, refused },
		),
		grpc.ChainStreamInterceptor(
			func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
				return h.Stream(func() {})(srv, s, info, next)
			},
			func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error { return refused },
		),
	)
	h = NewHealth(server, m, done)
	grpc_testing.RegisterTestServiceServer(server, grpc_testing.UnimplementedTestServiceServer{})
	if !h.Register(server) || h.Register(server) {
		t.Fatal("it is to be registered, once")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.GracefulStop()
		<-served
	})
	return healthpb.NewHealthClient(conn)
}

// The standard client sees what Kubernetes and Consul expect: SERVING, NOT_SERVING
// and NOT_FOUND, also when every other call is turned away.
func TestHealthCheck(t *testing.T) {
	m := health.New(health.Options{})
	t.Cleanup(m.Close)
	client := healthOf(t, m, nil)
	check := func(service string) string {
		res, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			return status.Code(err).String()
		}
		return res.GetStatus().String()
	}
	want := func(when string, all map[string]string) {
		t.Helper()
		for service, want := range all {
			if got := check(service); got != want {
				t.Errorf("%s, %q: %s, want %s", when, service, got, want)
			}
		}
	}
	const ours = "grpc.testing.TestService"
	want("before it is ready", map[string]string{"": "NOT_SERVING", ours: "NOT_SERVING", "readyz": "NOT_SERVING", "livez": "SERVING", "nobody": "NotFound"})
	m.Ready()
	want("ready", map[string]string{"": "SERVING", ours: "SERVING", "readyz": "SERVING", "livez": "SERVING", "nobody": "NotFound"})
	failing := errors.New("beyond help")
	if _, err := m.Add(health.Check{Name: "loop", Kind: health.Vital, Func: func(context.Context) error { return failing }}); err != nil {
		t.Fatal(err)
	}
	for check("livez") == "SERVING" { // until it was asked
		if t.Context().Err() != nil {
			t.Fatal("it lives on")
		}
	}
	want("dead", map[string]string{"": "NOT_SERVING", "livez": "NOT_SERVING"})
	list, err := client.List(t.Context(), &healthpb.HealthListRequest{})
	if err != nil || len(list.GetStatuses()) != 5 {
		t.Errorf("all: %v, %v", list, err)
	}
}

func TestHealthWatch(t *testing.T) {
	m := health.New(health.Options{})
	t.Cleanup(m.Close)
	done := make(chan struct{})
	client := healthOf(t, m, done)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	known, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		res, err := known.Recv()
		if err != nil || res.GetStatus() != want {
			t.Fatalf("%v, %v: want %v", res.GetStatus(), err, want)
		}
	}
	next(healthpb.HealthCheckResponse_NOT_SERVING)
	m.Ready()
	next(healthpb.HealthCheckResponse_SERVING)
	m.Hold("leaving", "bye")
	m.Hold("leaving", "good bye") // no other status
	next(healthpb.HealthCheckResponse_NOT_SERVING)
	m.Release("leaving")
	next(healthpb.HealthCheckResponse_SERVING)

	unknown, err := client.Watch(ctx, &healthpb.HealthCheckRequest{Service: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := unknown.Recv(); err != nil || res.GetStatus() != healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		t.Errorf("of an unknown service: %v, %v", res, err)
	}
	close(done)
	for _, watch := range []healthpb.Health_WatchClient{known, unknown} {
		if _, err := watch.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("when the server leaves: %v", err)
		}
	}
}
