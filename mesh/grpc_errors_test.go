package mesh_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

// ended fails the test unless the call ended with the library's own error.
func ended(t *testing.T, err error, code codes.Code, reason call.Reason, sent call.Sent) {
	t.Helper()
	e, ok := errors.AsType[*call.Error](err)
	if status.Code(err) != code || !ok || e.Reason != reason || e.Sent != sent || e.Service != "payments" || e.Method == "" {
		t.Errorf("got %v (code %v, %+v), want %v, %v, %v", err, status.Code(err), e, code, reason, sent)
	}
}

func TestGRPCStreamEndsWithTheCallsError(t *testing.T) {
	began, release := make(chan struct{}, 1), make(chan struct{})
	p := &payments{both: func(
		s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse],
	) error {
		_ = s.Send(new(grpc_testing.StreamingOutputCallResponse))
		began <- struct{}{}
		<-release // deaf, so that only the client can end the call
		return nil
	}}
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}})
	t.Cleanup(func() { close(release) })
	client := dialled(t, m)
	broken := func(ctx context.Context, end func()) error {
		s, err := client.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
		<-began
		end()
		_, err = s.Recv()
		return err
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := broken(ctx, func() {})
	ended(t, err, codes.DeadlineExceeded, call.Expired, call.SentUnknown)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is no context.DeadlineExceeded", err)
	}

	ctx, cancel = context.WithCancel(limited(t))
	ended(t, broken(ctx, cancel), codes.Canceled, call.Canceled, call.SentUnknown)
	if n := inflight(m); n != 0 {
		t.Errorf("%d attempts are still in flight", n)
	}
}

func TestGRPCStreamOfABrokenInstance(t *testing.T) {
	began := make(chan struct{})
	wait := func(ctx context.Context) error {
		began <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	p := &payments{
		both: func(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
			return wait(s.Context())
		},
		down: func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], _ int32) error {
			return wait(s.Context())
		},
	}
	addr, server := p.start(t)
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": {addr}}})
	client := dialled(t, m)
	both, err := client.FullDuplexCall(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	down, err := client.StreamingOutputCall(limited(t), new(grpc_testing.StreamingOutputCallRequest))
	if err != nil {
		t.Fatal(err)
	}
	<-began
	<-began
	server.Stop()
	_, err = both.Recv()
	ended(t, err, codes.Unavailable, call.Reset, call.SentUnknown)
	_, err = down.Recv()
	ended(t, err, codes.Unavailable, call.Reset, call.SentUnknown)
	if n := inflight(m); n != 0 {
		t.Errorf("%d attempts are still in flight", n)
	}
}

func TestGRPCStreamStatusIsTheServers(t *testing.T) {
	for _, code := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.NotFound} {
		for _, messages := range []int{0, 1} {
			want, err := status.New(code, "the card has no money: ÄÖ %").WithDetails(&grpc_testing.SimpleResponse{Username: "why"})
			if err != nil {
				t.Fatal(err)
			}
			p := &payments{down: func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], _ int32) error {
				for range messages {
					_ = s.Send(new(grpc_testing.StreamingOutputCallResponse))
				}
				return want.Err()
			}}
			client := dialled(t, newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}}))
			s, err := client.StreamingOutputCall(limited(t), new(grpc_testing.StreamingOutputCallRequest))
			if err != nil {
				t.Fatal(err)
			}
			n, err := drain(s)
			_, ours := errors.AsType[*call.Error](err)
			if got, ok := status.FromError(err); !ok || ours || n != messages || !proto.Equal(got.Proto(), want.Proto()) {
				t.Errorf("after %d messages: got %v, want %v", n, err, want)
			}
		}
	}
}

func TestGRPCStreamThatCanNotSendEnds(t *testing.T) {
	p := &payments{both: echoStream}
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}})
	s, err := dialled(t, m).FullDuplexCall(limited(t), grpc.MaxCallSendMsgSize(1))
	if err != nil {
		t.Fatal(err)
	}
	err = s.Send(&grpc_testing.StreamingOutputCallRequest{Payload: &grpc_testing.Payload{Body: []byte("much")}})
	if status.Code(err) != codes.ResourceExhausted || errors.Is(err, io.EOF) {
		t.Errorf("got %v, want what gRPC says about the message", err)
	}
	if n := inflight(m); n != 0 {
		t.Errorf("%d attempts are still in flight", n)
	}
}

// A call that waits for an instance has no other end than that of its time.
func TestGRPCWaitForReadyRunsOutOfTime(t *testing.T) {
	for name, addrs := range map[string][]string{"unreachable": {deadAddress(t)}, "nobody there": {}} {
		t.Run(name, func(t *testing.T) {
			client := dialled(t, newMesh(t, mesh.Options{Discovery: addresses{"payments": addrs}}))
			const patience = 400 * time.Millisecond
			by, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for _, ctx := range []context.Context{by, call.With(limited(t), call.Options{Timeout: patience})} {
				begin := time.Now()
				_, err := client.UnaryCall(ctx, new(grpc_testing.SimpleRequest), grpc.WaitForReady(true))
				ended(t, err, codes.DeadlineExceeded, call.Expired, call.NotSent)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v is no context.DeadlineExceeded", err)
				}
				if took := time.Since(begin); took < patience-50*time.Millisecond {
					t.Errorf("gave up after %v, want %v", took, patience)
				}
			}
		})
	}
}

func TestGRPCRefusesTheWrongServer(t *testing.T) {
	ca := devCA(t)
	addr, _ := new(payments).start(t, grpc.Creds(credentials.NewTLS(
		tlsutil.ServerConfig(identity(t, ca, "stock"), tlsutil.AuthorizeAny(), tlsutil.Options{NextProtos: []string{"h2"}}))))
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"payments": {addr}}, TLS: mesh.TLSOptions{Source: identity(t, ca, "checkout")},
	})
	client := dialled(t, m)
	_, err := client.UnaryCall(limited(t), new(grpc_testing.SimpleRequest))
	ended(t, err, codes.Unavailable, call.Unreachable, call.NotSent)
	if peer, ok := errors.AsType[*tlsutil.PeerError](err); !ok || !errors.Is(err, tlsutil.ErrDenied) {
		t.Errorf("got %v (%v), want the peer denied", err, peer)
	}
	_, err = client.FullDuplexCall(limited(t))
	ended(t, err, codes.Unavailable, call.Unreachable, call.NotSent)
	if _, ok := errors.AsType[*tlsutil.PeerError](err); !ok {
		t.Errorf("got %v, want the peer denied", err)
	}
}
