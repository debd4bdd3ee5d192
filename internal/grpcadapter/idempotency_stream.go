package grpcadapter

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/innermesh/innermesh/idempotency"
)

// errAnswered ends a handler whose call is answered without it.
var errAnswered = errors.New("innermesh: this call is answered by what was kept")

// stream is a [grpc.StreamServerInterceptor].
func (s *idempotentServer) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	ctx := ss.Context()
	key, err := s.keyOf(ctx, info.FullMethod)
	if err != nil {
		return s.refuseStream(ss, err)
	}
	if key == "" {
		return handle(srv, ss)
	}
	x := &idempotentStream{ServerStream: ss, recording: newRecording(s.o.Guard.Options().MaxResponse), ctx: ctx}
	x.enter = func(req any) error {
		turn, err := s.enter(ctx, info.FullMethod, key, req)
		if err != nil {
			return s.refuseStream(ss, err)
		}
		x.turn = turn
		switch {
		case turn.Replay() != nil:
			return errAnswered
		case turn.Owner() == 0:
			x.ctx = turn.Context() // nobody guards it
		default:
			x.ctx = x.within(turn.Context())
		}
		return nil
	}
	defer func() {
		if x.turn != nil {
			x.turn.Abandon() // no effect once it is complete
		}
	}()
	if info.IsClientStream {
		x.refused = x.enter(nil)
		x.entered = true
	}
	if x.refused == nil {
		err = handle(srv, x)
	}
	switch {
	case x.refused == errAnswered: //nolint:errorlint // it is ours, and never wrapped
		return x.replay(x.turn.Replay())
	case x.refused != nil:
		return x.refused
	case x.turn == nil || x.turn.Owner() == 0:
		return err
	case err != nil && x.broken:
		return err
	}
	if lost := x.turn.Complete(x.outcome(err)); errors.Is(lost, idempotency.ErrLost) {
		return s.refuseStream(ss, idempotency.ErrRunning) // what the new owner will say counts
	}
	return err
}

// refuseStream is refuse for a stream: its trailer has to be set on it.
func (s *idempotentServer) refuseStream(ss grpc.ServerStream, err error) error {
	return s.refuse(grpc.NewContextWithServerTransportStream(ss.Context(), &transportOf{ss}), err)
}

// idempotentStream is the stream of a handler. A call that streams only answers
// is let in with its one request, which the handler's generated code receives
// before the handler sees anything.
type idempotentStream struct {
	grpc.ServerStream
	*recording

	ctx     context.Context //nolint:containedctx // as streams have one
	enter   func(req any) error
	turn    *idempotency.Turn
	entered bool
	refused error
	broken  bool // the requests broke off
}

// Context implements [grpc.ServerStream].
func (x *idempotentStream) Context() context.Context { return x.ctx }

// RecvMsg implements [grpc.ServerStream].
func (x *idempotentStream) RecvMsg(m any) error {
	if x.refused != nil {
		return x.refused
	}
	err := x.ServerStream.RecvMsg(m)
	if err != nil {
		x.broken = x.broken || err != io.EOF //nolint:errorlint // gRPC returns it bare
		return err
	}
	if !x.entered {
		x.entered = true
		x.refused = x.enter(m)
	}
	return x.refused
}

// SendMsg implements [grpc.ServerStream]. A client that has left changes nothing
// as long as the answer can be kept.
func (x *idempotentStream) SendMsg(m any) error {
	x.message(m)
	if err := x.ServerStream.SendMsg(m); err != nil && (x.missing || x.ServerStream.Context().Err() == nil) {
		return err
	}
	return nil
}

// SetHeader implements [grpc.ServerStream].
func (x *idempotentStream) SetHeader(md metadata.MD) error {
	x.addHeader(md)
	return x.ServerStream.SetHeader(md)
}

// SendHeader implements [grpc.ServerStream].
func (x *idempotentStream) SendHeader(md metadata.MD) error {
	x.addHeader(md)
	return x.ServerStream.SendHeader(md)
}

// SetTrailer implements [grpc.ServerStream].
func (x *idempotentStream) SetTrailer(md metadata.MD) {
	x.addTrailer(md)
	x.ServerStream.SetTrailer(md)
}

// replay sends what was kept.
func (x *idempotentStream) replay(o *idempotency.Outcome) error {
	messages, st, err := decodeOutcome(o)
	if err != nil {
		return err
	}
	if err := x.ServerStream.SetHeader(replayedHeader(o)); err != nil {
		return err
	}
	for _, m := range messages {
		if err := x.ServerStream.SendMsg(m); err != nil {
			return err
		}
	}
	x.ServerStream.SetTrailer(o.Trailer)
	return st
}

// transportOf is a stream as the functions of package grpc look for it.
type transportOf struct{ grpc.ServerStream }

// Method implements [grpc.ServerTransportStream].
func (t *transportOf) Method() string {
	method, _ := grpc.MethodFromServerStream(t.ServerStream)
	return method
}

// SetTrailer implements [grpc.ServerTransportStream].
func (t *transportOf) SetTrailer(md metadata.MD) error {
	t.ServerStream.SetTrailer(md)
	return nil
}
