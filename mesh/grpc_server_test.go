package mesh_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/mesh"
)

// patience is how long a test waits for what should take a moment.
const patience = 20 * time.Second

// payments is what the instances of a gRPC service do, and how often they were
// asked, all together. A handler that is nil answers at once.
type payments struct {
	grpc_testing.UnimplementedTestServiceServer
	calls atomic.Int32

	unary func(ctx context.Context, call int32) error
	down  func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], call int32) error
	up    func(s grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error
	both  func(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error
}

// UnaryCall tells which instance has answered.
func (p *payments) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	n := p.calls.Add(1)
	if p.unary != nil {
		if err := p.unary(ctx, n); err != nil {
			return nil, err
		}
	}
	return &grpc_testing.SimpleResponse{Username: ownAddress(ctx)}, nil
}

func (p *payments) StreamingOutputCall(
	_ *grpc_testing.StreamingOutputCallRequest, s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse],
) error {
	return p.down(s, p.calls.Add(1))
}

func (p *payments) StreamingInputCall(
	s grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse],
) error {
	p.calls.Add(1)
	return p.up(s)
}

func (p *payments) FullDuplexCall(
	s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse],
) error {
	p.calls.Add(1)
	return p.both(s)
}

// start runs an instance until the test ends, or before that until it is stopped.
func (p *payments) start(tb testing.TB, o ...grpc.ServerOption) (addr string, s *grpc.Server) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s = grpc.NewServer(o...)
	grpc_testing.RegisterTestServiceServer(s, p)
	go func() { _ = s.Serve(l) }()
	tb.Cleanup(s.Stop)
	return l.Addr().String(), s
}

// three runs three instances.
func (p *payments) three(tb testing.TB) []string {
	tb.Helper()
	var addrs []string
	for range 3 {
		addr, _ := p.start(tb)
		addrs = append(addrs, addr)
	}
	return addrs
}

// dialled is a stub of the service, through the mesh.
func dialled(tb testing.TB, m *mesh.Mesh) grpc_testing.TestServiceClient {
	tb.Helper()
	conn, err := m.GRPCClient("payments")
	if err != nil {
		tb.Fatal(err)
	}
	return grpc_testing.NewTestServiceClient(conn)
}

// limited is the context of a test that must not hang.
func limited(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// inflight counts the attempts under way to all services.
func inflight(m *mesh.Mesh) (n int) {
	for _, u := range m.Upstreams() {
		for _, i := range u.Instances {
			n += i.Inflight
		}
	}
	return n
}

// failures counts the attempts that have failed, on all instances.
func failures(m *mesh.Mesh) (n uint64) {
	for _, u := range m.Upstreams() {
		for _, i := range u.Instances {
			n += i.Failures
		}
	}
	return n
}

// deadAddress is one where nobody listens.
func deadAddress(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// busyOnce refuses the first of all calls.
func busyOnce(_ context.Context, call int32) error {
	if call == 1 {
		return status.Error(codes.Unavailable, "busy")
	}
	return nil
}

// ownAddress is the address a server was called at.
func ownAddress(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	return p.LocalAddr.String()
}
