package interop

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

// member is a program of the mesh whose identity is Consul's.
func member(t *testing.T, agent *consultest.Agent, service string, o mesh.Options) *mesh.Mesh {
	t.Helper()
	o.Service, o.Logger, o.TLS.Consul, o.Consul.Address = service, slog.New(slog.DiscardHandler), true, agent.HTTPAddr
	m, err := mesh.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return m
}

// whoCalls answers with protocol, path and the caller's service.
func whoCalls(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, r.Proto+" "+r.URL.Path+" "+caller(r))
}

func caller(r *http.Request) string {
	if r.TLS == nil {
		return "nobody"
	}
	id, err := tlsutil.PeerID(*r.TLS)
	if err != nil {
		return err.Error()
	}
	service, err := id.Service()
	if err != nil {
		return err.Error()
	}
	return service.Service
}

// served serves HTTP on a listener until the test ends.
func served(t *testing.T, l net.Listener, h http.Handler, protocols *http.Protocols) (port int) {
	t.Helper()
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: time.Minute, Protocols: protocols,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().(*net.TCPAddr).Port
}

// answering is a gRPC service that answers with its caller's service.
type answering struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (answering) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	who := "nobody"
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			who = caller(&http.Request{TLS: &info.State})
		}
	}
	return &grpc_testing.SimpleResponse{Username: who}, nil
}

func servedGRPC(t *testing.T, l net.Listener, options ...grpc.ServerOption) (port int) {
	t.Helper()
	s := grpc.NewServer(options...)
	grpc_testing.RegisterTestServiceServer(s, answering{})
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().(*net.TCPAddr).Port
}

func plainListener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func meshListener(t *testing.T, m *mesh.Mesh) net.Listener {
	t.Helper()
	l, err := m.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// get fetches a page, of a client whose connections are closed in the end.
func get(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	t.Cleanup(c.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return fmt.Sprintf("%d %s", res.StatusCode, b), err
}

// unary makes a gRPC call.
func unary(t *testing.T, conn *grpc.ClientConn) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	answer, err := grpc_testing.NewTestServiceClient(conn).UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	return answer.GetUsername(), err
}

func at(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
