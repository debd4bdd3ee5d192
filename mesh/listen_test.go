package mesh_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/tlsutil"
)

// whoCalls answers with the protocol and the caller's name.
func whoCalls(w http.ResponseWriter, r *http.Request) {
	who := "nobody"
	if r.TLS != nil {
		id, err := tlsutil.PeerID(*r.TLS)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		who = id.Path()
	}
	_, _ = io.WriteString(w, r.Proto+" "+who)
}

// listened is a listener of a mesh.
func listened(tb testing.TB, m *mesh.Mesh) net.Listener {
	tb.Helper()
	l, err := m.Listen(tb.Context(), "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// servedHTTP serves HTTP on a listener of the mesh.
func servedHTTP(tb testing.TB, m *mesh.Mesh, h http.Handler) (addr string) {
	tb.Helper()
	l := listened(tb, m)
	s := &http.Server{
		Handler: m.Middleware(h), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	tb.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

// servedGRPC serves payments on a listener of the mesh.
func servedGRPC(tb testing.TB, m *mesh.Mesh, p *payments, options ...grpc.ServerOption) (addr string) {
	tb.Helper()
	l := listened(tb, m)
	s := grpc.NewServer(append(m.GRPCServerOptions(), options...)...)
	grpc_testing.RegisterTestServiceServer(s, p)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	tb.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String()
}

// developed is a program with an identity of a development CA.
func developed(tb testing.TB, ca *tlsutil.DevCA, service string, o mesh.Options) *mesh.Mesh {
	tb.Helper()
	o.Service, o.TLS.DevCA = service, ca
	if o.Discovery == nil {
		o.Discovery = addresses{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := mesh.New(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return m
}

func TestListen(t *testing.T) {
	ca := devCA(t)
	stock := servedHTTP(t, developed(t, ca, "stock", mesh.Options{}), http.HandlerFunc(whoCalls))
	for protocol, want := range map[string]string{
		policy.HTTP1: "HTTP/1.1 /ns/default/dc/dc1/svc/shop",
		policy.HTTP2: "HTTP/2.0 /ns/default/dc/dc1/svc/shop",
	} {
		shop := developed(t, ca, "shop", mesh.Options{
			Discovery: addresses{"stock": {stock}}, Defaults: policy.Service{HTTP: policy.HTTP{Protocol: protocol}},
		})
		got, err := bodyOf(shop.HTTPClient(), "http://stock/")
		if err != nil || got != "200 "+want {
			t.Errorf("%s: %q, %v; want %q", protocol, got, err, want)
		}
	}
}

// A gRPC server tells its handlers who calls, whoever has made the handshake.
func TestListenGRPC(t *testing.T) {
	ca := devCA(t)
	p := &payments{}
	for _, own := range []bool{true, false} {
		server := developed(t, ca, "payments", mesh.Options{})
		var callers []string
		see := grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if from, ok := peer.FromContext(ctx); ok {
				if info, ok := from.AuthInfo.(credentials.TLSInfo); ok {
					callers = append(callers, info.SPIFFEID.String())
				}
			}
			return next(ctx, req)
		})
		var addr string
		if own {
			addr = servedGRPC(t, server, p, see)
		} else {
			addr, _ = p.start(t, grpc.Creds(server.GRPCServerCredentials()), see)
		}
		client := dialled(t, developed(t, ca, "shop", mesh.Options{Discovery: addresses{"payments": {addr}}}))
		if _, err := client.UnaryCall(limited(t), &grpc_testing.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
		if len(callers) != 1 || callers[0] != "spiffe://dev.internal/ns/default/dc/dc1/svc/shop" {
			t.Errorf("callers %q", callers)
		}
	}
}
