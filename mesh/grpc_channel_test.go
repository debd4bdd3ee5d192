package mesh_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

// await waits for a state of a connection.
func await(t *testing.T, conn *grpc.ClientConn, want connectivity.State) {
	t.Helper()
	ctx := limited(t)
	for s := conn.GetState(); s != want; s = conn.GetState() {
		if !conn.WaitForStateChange(ctx, s) {
			t.Fatalf("the connection is still %v, want %v", s, want)
		}
	}
}

func TestGRPCConnectionOfOnesOwn(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": new(payments).three(t)}})
	conn, err := grpc.NewClient("mesh:///payments", m.DialOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := grpc_testing.NewTestServiceClient(conn).UnaryCall(limited(t), &grpc_testing.SimpleRequest{}); err != nil {
		t.Error(err)
	}
}

func TestGRPCIdleConnectionComesBack(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": new(payments).three(t)}})
	conn, err := m.GRPCClient("payments", grpc.WithIdleTimeout(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	client := grpc_testing.NewTestServiceClient(conn)
	for range 3 {
		if _, err := client.UnaryCall(limited(t), &grpc_testing.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
		await(t, conn, connectivity.Idle)
	}
}

func TestGRPCWaitForReady(t *testing.T) {
	var registry discovery.Memory
	if err := registry.Set("payments"); err != nil {
		t.Fatal(err)
	}
	addr, _ := new(payments).start(t)
	client := dialled(t, newMesh(t, mesh.Options{Discovery: &registry}))
	if _, err := client.UnaryCall(limited(t), &grpc_testing.SimpleRequest{}); !errors.Is(err, discovery.ErrNoInstances) {
		t.Errorf("got %v from a call that does not wait", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := client.UnaryCall(limited(t), &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true))
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("the call has not waited: %v", err)
	case <-time.After(100 * time.Millisecond): // longer than all of a call's backoffs
	}
	if err := registry.Put("payments", discovery.Instance{ID: "one", Address: addr}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// compressions notes how messages came to a server.
type compressions struct{ last atomic.Pointer[string] }

func (c *compressions) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (c *compressions) HandleRPC(_ context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InHeader); ok {
		c.last.Store(&in.Compression)
	}
}

func (c *compressions) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (c *compressions) HandleConn(context.Context, stats.ConnStats) {}

func TestGRPCCallOptions(t *testing.T) {
	p := &payments{unary: func(ctx context.Context, _ int32) error {
		md, _ := metadata.FromIncomingContext(ctx)
		return errors.Join(
			grpc.SetHeader(ctx, metadata.Pairs("hello", strings.Join(md.Get("user"), "+"))),
			grpc.SetTrailer(ctx, metadata.Pairs("bye", strings.Join(md.Get("blob-bin"), "+"))),
		)
	}}
	var compressed compressions
	addr, _ := p.start(t, grpc.StatsHandler(&compressed))
	client := dialled(t, newMesh(t, mesh.Options{Discovery: addresses{"payments": {addr}}}))
	var header, trailer metadata.MD
	var at peer.Peer
	ctx := metadata.AppendToOutgoingContext(limited(t), "user", "a", "user", "b", "blob-bin", "c")
	if _, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{},
		grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&at), grpc.UseCompressor(gzip.Name)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(header.Get("hello"), ""); got != "a+b" {
		t.Errorf("header %q, of %v", got, header)
	}
	if got := strings.Join(trailer.Get("bye"), ""); got != "c" {
		t.Errorf("trailer %q, of %v", got, trailer)
	}
	if at.Addr == nil || at.Addr.String() != addr {
		t.Errorf("peer %v, want %s", at.Addr, addr)
	}
	if c := compressed.last.Load(); c == nil || *c != gzip.Name {
		t.Errorf("the message came compressed with %v", c)
	}
}

func TestGRPCMutualTLS(t *testing.T) {
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	identity := func(service string) tlsutil.Source {
		s, err := ca.Source(service)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for service, right := range map[string]bool{"payments": true, "inventory": false} {
		t.Run(service, func(t *testing.T) {
			p := new(payments)
			config := tlsutil.ServerConfig(identity(service), tlsutil.AuthorizeService("checkout"), tlsutil.Options{})
			addr, _ := p.start(t, grpc.Creds(credentials.NewTLS(config)))
			client := dialled(t, newMesh(t, mesh.Options{
				Discovery: addresses{"payments": {addr}}, TLS: mesh.TLSOptions{Source: identity("checkout")},
			}))
			var at peer.Peer
			_, err := client.UnaryCall(limited(t), &grpc_testing.SimpleRequest{}, grpc.Peer(&at))
			if !right {
				if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), tlsutil.ErrDenied.Error()) || p.calls.Load() != 0 {
					t.Errorf("got %v, want that the instance is not trusted", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			info, _ := at.AuthInfo.(credentials.TLSInfo)
			if id, err := tlsutil.PeerID(info.State); err != nil || !strings.HasSuffix(id.Path(), "/svc/payments") {
				t.Errorf("peer %v, %v", id, err)
			}
		})
	}
}

func TestGRPCNobodyToCall(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": {}, "broken": {deadAddress(t)}}})
	closed := newMesh(t, mesh.Options{Discovery: addresses{"payments": new(payments).three(t)}})
	tests := map[string]struct {
		mesh    *mesh.Mesh
		service string
		code    codes.Code
		cause   error
	}{
		"unknown service": {m, "no-such", codes.Unavailable, discovery.ErrUnknownService},
		"no instance":     {m, "payments", codes.Unavailable, discovery.ErrNoInstances},
		"unreachable":     {m, "broken", codes.Unavailable, nil},
		"closed":          {closed, "payments", codes.Canceled, mesh.ErrClosed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			conn, err := test.mesh.GRPCClient(test.service)
			if err != nil {
				t.Fatal(err)
			}
			if test.mesh == closed {
				if err := closed.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			client := grpc_testing.NewTestServiceClient(conn)
			_, unary := client.UnaryCall(limited(t), &grpc_testing.SimpleRequest{})
			_, stream := client.FullDuplexCall(limited(t))
			for _, err := range []error{unary, stream} {
				e, ok := errors.AsType[*call.Error](err)
				if status.Code(err) != test.code || !ok || e.Service != test.service || test.cause != nil && !errors.Is(err, test.cause) {
					t.Errorf("got %v (code %v), want code %v, cause %v", err, status.Code(err), test.code, test.cause)
				}
			}
		})
	}
}

func TestGRPCCloseLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	addr, server := new(payments).start(t)
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": {addr, deadAddress(t)}}})
	client := dialled(t, m)
	if _, err := client.UnaryCall(limited(t), &grpc_testing.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	goleak.VerifyNone(t, before)
}
