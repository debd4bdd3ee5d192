package mesh_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// recorded is a service that keeps the requests of unary calls.
type recorded struct {
	grpc_testing.UnimplementedTestServiceServer
	got chan recordedCall
}

type recordedCall struct {
	md   metadata.MD
	body string
	in   call.Inbound
}

// UnaryCall implements the service.
func (r *recorded) UnaryCall(ctx context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	r.got <- recordedCall{md, string(req.GetPayload().GetBody()), call.InboundFrom(ctx)}
	return new(grpc_testing.SimpleResponse), nil
}

// StreamingOutputCall implements the service.
func (r *recorded) StreamingOutputCall(*grpc_testing.StreamingOutputCallRequest, grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	r.got <- recordedCall{body: "a stream"}
	return nil
}

func (r *recorded) next(t *testing.T) recordedCall {
	t.Helper()
	select {
	case c := <-r.got:
		return c
	case <-limited(t).Done():
		t.Fatal("no copy has come")
		return recordedCall{}
	}
}

func saying(text string) *grpc_testing.SimpleRequest {
	return &grpc_testing.SimpleRequest{Payload: &grpc_testing.Payload{Body: []byte(text)}}
}

// What arrives at the mirror is what the instance gets, with a mark and a key of
// its own; the caller's message is the caller's again when the call is over.
func TestMirrorGRPC(t *testing.T) {
	telemetry, reader := metered()
	calls, copies := &recorded{got: make(chan recordedCall, 10)}, &recorded{got: make(chan recordedCall, 10)}
	p := mirroring(policy.Mirror{MaxBytes: 100})
	p.Routes = []policy.Route{{RequestHeaders: policy.Headers{Set: map[string]string{"x-way": "this"}}}}
	server := newMesh(t, mesh.Options{Discovery: addresses{}})
	source := late{addresses{
		"payments": {listenGRPC(t, calls)}, "shadow": {listenGRPC(t, copies, server.GRPCServerOptions()...)},
	}, make(chan struct{})}
	m := newMesh(t, mesh.Options{Telemetry: telemetry, Defaults: p, Discovery: source})
	client := dialled(t, m)
	req := saying("pay")
	var header metadata.MD
	ctx := metadata.AppendToOutgoingContext(limited(t), "idempotency-key", "order-1", "x-own", "1")
	finished := 0
	if _, err := client.UnaryCall(ctx, req, grpc.Header(&header), grpc.OnFinish(func(error) { finished++ })); err != nil {
		t.Fatal(err)
	}
	req.Payload.Body = []byte("something else")
	close(source.tells) // only now can the copy be sent
	a, b := calls.next(t), copies.next(t)
	if a.body != "pay" || b.body != "pay" || !b.in.Mirrored || a.in.Mirrored {
		t.Errorf("got %+v\ncopied %+v", a, b)
	}
	value := func(c recordedCall, name string) string { return strings.Join(c.md.Get(name), ",") }
	if value(b, "x-way") != "this" || value(b, "x-own") != "1" || value(b, call.MirroredHeader) != "1" || value(a, call.MirroredHeader) != "" {
		t.Errorf("the copy has %v", b.md)
	}
	if key := value(b, "idempotency-key"); value(a, "idempotency-key") != "order-1" || !strings.HasPrefix(key, "mirror-") {
		t.Errorf("the copy has the key %q", key)
	}
	if _, err := client.UnaryCall(limited(t), saying(strings.Repeat("x", 100))); err != nil {
		t.Fatal(err)
	}
	s, err := client.StreamingOutputCall(limited(t), new(grpc_testing.StreamingOutputCallRequest))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := drain(s); err != nil {
		t.Fatal(err)
	}
	if got := results(t, reader, 3); got["ok"] != 1 || got["body"] != 1 || got["kind"] != 1 || finished != 1 {
		t.Errorf("%v, finished %d times", got, finished)
	}
}

// late is a list of instances that tells of those of shadow when it may.
type late struct {
	addresses
	tells chan struct{}
}

// Watch implements [discovery.Source].
func (l late) Watch(ctx context.Context, service string, tell func(discovery.Update)) error {
	if service == "shadow" {
		select {
		case <-l.tells:
		case <-ctx.Done():
		}
	}
	return l.addresses.Watch(ctx, service, tell)
}

// listenGRPC runs an instance until the test ends.
func listenGRPC(t *testing.T, service grpc_testing.TestServiceServer, o ...grpc.ServerOption) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(o...)
	grpc_testing.RegisterTestServiceServer(s, service)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// A mirror that hangs, fails or is not there fails no call and is waited for by
// none, not even by Close.
func TestMirrorGRPCIsNotFelt(t *testing.T) {
	hang := func(ctx context.Context, _ int32) error { <-ctx.Done(); return ctx.Err() }
	refuse := func(context.Context, int32) error { return status.Error(codes.Unavailable, "no") }
	for name, mirror := range map[string]*payments{"hangs": {unary: hang}, "fails": {unary: refuse}, "dead": nil} {
		t.Run(name, func(t *testing.T) {
			telemetry, reader := metered()
			at := deadAddress(t)
			if mirror != nil {
				at, _ = mirror.start(t)
			}
			var n atomic.Int32
			instance := &payments{unary: func(context.Context, int32) error { n.Add(1); return nil }}
			addr, _ := instance.start(t)
			m := newMesh(t, mesh.Options{
				Telemetry: telemetry, Discovery: addresses{"payments": {addr}, "shadow": {at}}, Defaults: mirroring(policy.Mirror{Active: 5, Timeout: policy.Duration(patience)}),
			})
			client := dialled(t, m)
			for range 50 {
				if _, err := client.UnaryCall(limited(t), saying("pay")); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.Close(t.Context()); err != nil {
				t.Error(err)
			}
			got := results(t, reader, 50)
			if n.Load() != 50 || name == "hangs" && got["full"] != 45 || got["ok"] != 0 {
				t.Errorf("%d calls, of the copies %v", n.Load(), got)
			}
			if mirror != nil && mirror.calls.Load() > 50 {
				t.Errorf("%d copies", mirror.calls.Load())
			}
		})
	}
}
