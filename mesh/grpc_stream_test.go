package mesh_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// drain reads a stream to its end, and counts.
func drain(s interface {
	Recv() (*grpc_testing.StreamingOutputCallResponse, error)
}) (n int, err error) {
	for {
		if _, err = s.Recv(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return n, err
		}
		n++
	}
}

func TestGRPCServerStreamIsRetriedUntilItsFirstMessage(t *testing.T) {
	message := new(grpc_testing.StreamingOutputCallResponse)
	early := func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], call int32) error {
		if err := busyOnce(s.Context(), call); err != nil {
			return err
		}
		return errors.Join(s.Send(message), s.Send(message))
	}
	late := func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], call int32) error {
		if err := s.Send(message); err != nil {
			return err
		}
		return busyOnce(s.Context(), call)
	}
	tests := map[string]struct {
		down            func(grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], int32) error
		idempotent      bool
		calls, messages int
		code            codes.Code
	}{
		"before it":                 {early, true, 2, 2, codes.OK},
		"after it":                  {late, true, 1, 1, codes.Unavailable},
		"before it, not idempotent": {early, false, 1, 0, codes.Unavailable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := &payments{down: test.down}
			m := newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}})
			s, err := dialled(t, m).StreamingOutputCall(
				call.With(limited(t), call.Options{Idempotent: test.idempotent}), &grpc_testing.StreamingOutputCallRequest{})
			if err != nil {
				t.Fatal(err)
			}
			n, err := drain(s)
			if n != test.messages || status.Code(err) != test.code || int(p.calls.Load()) != test.calls {
				t.Errorf("%d messages, %d attempts, %v; want %d, %d, %v", n, p.calls.Load(), err, test.messages, test.calls, test.code)
			}
			if code := status.Convert(err); code.Code() != codes.OK && code.Message() != "busy" {
				t.Errorf("message %q is not the server's", code.Message())
			}
			if n := inflight(m); n != 0 {
				t.Errorf("%d attempts are still in flight", n)
			}
		})
	}
}

func TestGRPCClientStream(t *testing.T) {
	p := &payments{up: func(
		s grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse],
	) error {
		var n int32
		for {
			_, err := s.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			n++
		}
		if n == 1 {
			return status.Error(codes.Unavailable, "busy")
		}
		return s.SendAndClose(&grpc_testing.StreamingInputCallResponse{AggregatedPayloadSize: n})
	}}
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}})
	client := dialled(t, m)
	send := func(messages int) (*grpc_testing.StreamingInputCallResponse, error) {
		s, err := client.StreamingInputCall(call.With(limited(t), call.Options{Idempotent: true}))
		if err != nil {
			t.Fatal(err)
		}
		for range messages {
			if err := s.Send(&grpc_testing.StreamingInputCallRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		return s.CloseAndRecv()
	}
	if res, err := send(5); err != nil || res.GetAggregatedPayloadSize() != 5 {
		t.Errorf("got %v, %v", res, err)
	}
	if _, err := send(1); status.Code(err) != codes.Unavailable || p.calls.Load() != 2 {
		t.Errorf("got %v after %d attempts in all, want unavailable after 2", err, p.calls.Load())
	}
	if n := inflight(m); n != 0 {
		t.Errorf("%d attempts are still in flight", n)
	}
}

// echoStream answers each message until there are no more, or until it is told of an
// error by a message with a status.
func echoStream(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	for {
		req, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if e := req.GetResponseStatus(); e != nil {
			return status.Error(codes.Code(e.GetCode()), e.GetMessage())
		}
		if err := s.Send(&grpc_testing.StreamingOutputCallResponse{Payload: req.GetPayload()}); err != nil {
			return err
		}
	}
}

func TestGRPCBidiStream(t *testing.T) {
	p := &payments{both: echoStream}
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}})
	client := dialled(t, m)
	ctx := call.With(limited(t), call.Options{Idempotent: true})
	s, err := client.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"a", "b", "c"} {
		if err := s.Send(&grpc_testing.StreamingOutputCallRequest{Payload: &grpc_testing.Payload{Body: []byte(word)}}); err != nil {
			t.Fatal(err)
		}
		if res, err := s.Recv(); err != nil || string(res.GetPayload().GetBody()) != word {
			t.Fatalf("got %v, %v; want %s", res, err, word)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v at the end", err)
	}

	s, err = client.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	bad := &grpc_testing.EchoStatus{Code: int32(codes.Unavailable), Message: "busy"}
	if err := s.Send(&grpc_testing.StreamingOutputCallRequest{ResponseStatus: bad}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable || p.calls.Load() != 2 {
		t.Errorf("got %v after %d attempts in all, want unavailable after 2", err, p.calls.Load())
	}
	if n := inflight(m); n != 0 {
		t.Errorf("%d attempts are still in flight", n)
	}
}

func TestGRPCStreamOutlivesThePolicysTime(t *testing.T) {
	const messages, pause = 4, 100 * time.Millisecond
	p := &payments{down: func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], _ int32) error {
		for range messages {
			select {
			case <-time.After(pause):
			case <-s.Context().Done():
				return s.Context().Err()
			}
			if err := s.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
				return err
			}
		}
		return nil
	}}
	addr, _ := p.start(t)
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"payments": {addr}},
		Defaults: policy.Service{Timeout: policy.Timeout{
			Total: policy.Duration(2 * pause), PerTry: policy.Duration(pause),
		}},
	})
	conn, err := m.GRPCClient("payments")
	if err != nil {
		t.Fatal(err)
	}
	conn.Connect() // the opening has little time
	await(t, conn, connectivity.Ready)
	s, err := grpc_testing.NewTestServiceClient(conn).StreamingOutputCall(limited(t), &grpc_testing.StreamingOutputCallRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := drain(s); n != messages || err != nil {
		t.Errorf("%d messages, %v; want %d", n, err, messages)
	}
}

func TestGRPCAbandonedStreamIsNotInFlight(t *testing.T) {
	p := &payments{both: echoStream}
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}})
	client := dialled(t, m)
	ctx, cancel := context.WithCancel(limited(t))
	defer cancel()
	var last grpc.BidiStreamingClient[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]
	for range 5 {
		s, err := client.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		last = s
	}
	if n := inflight(m); n != 5 {
		t.Errorf("%d attempts in flight, want 5", n)
	}
	cancel()
	eventually(t, patience, "nothing is in flight", func() bool { return inflight(m) == 0 })
	if _, err := last.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("got %v from a canceled stream", err)
	}
}

// onlyOnce are credentials that a call can have once.
type onlyOnce struct{ asked int }

func (c *onlyOnce) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if c.asked++; c.asked > 1 {
		return nil, status.Error(codes.Unauthenticated, "no more credentials")
	}
	return map[string]string{}, nil
}

func (c *onlyOnce) RequireTransportSecurity() bool { return false }

var _ credentials.PerRPCCredentials = (*onlyOnce)(nil)

func TestGRPCStreamThatCanNotBeOpenedAgainEnds(t *testing.T) {
	p := &payments{down: func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], n int32) error {
		return busyOnce(s.Context(), n)
	}}
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}})
	s, err := dialled(t, m).StreamingOutputCall(call.With(limited(t), call.Options{Idempotent: true}),
		&grpc_testing.StreamingOutputCallRequest{}, grpc.PerRPCCredentials(new(onlyOnce)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want the first attempt's answer", err)
	}
	if n := inflight(m); n != 0 {
		t.Errorf("%d attempts are still in flight", n)
	}
}
