package grpcadapter

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/idempotency"
)

// IdempotencyOptions say how a server's calls are guarded.
type IdempotencyOptions struct {
	// Guard decides. Required.
	Guard *idempotency.Guard
	// Require lists the methods that refuse calls without a key, each as
	// "/package.Service/Method" or "/package.Service/*". Default: none. Every
	// call with a key is guarded.
	Require []string
	// Caller tells who calls, as idempotency.HTTPOptions.Caller. Default: who a
	// verified client certificate names.
	Caller func(ctx context.Context) string
}

// IdempotencyServerOptions make a server carry out calls with a key once.
// Repeats get the messages, the metadata and the status of the first, marked
// with [idempotency.ReplayedMetadata].
//
// Messages are kept in protobuf's encoding: of others is kept only that they
// were sent. Of calls that stream requests only the method counts for what is
// the same request. If the requests break off, a status other than OK is not
// kept. If the handler panics, the key is free again. A handler of a guarded call
// can not use grpc.SetSendCompressor, which knows gRPC's own streams alone.
func IdempotencyServerOptions(o IdempotencyOptions) []grpc.ServerOption {
	s := &idempotentServer{o}
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(s.unary), grpc.ChainStreamInterceptor(s.stream)}
}

type idempotentServer struct{ o IdempotencyOptions }

// unary is a [grpc.UnaryServerInterceptor].
func (s *idempotentServer) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	key, err := s.keyOf(ctx, info.FullMethod)
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	if key == "" {
		return handle(ctx, req)
	}
	turn, err := s.enter(ctx, info.FullMethod, key, req)
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	defer turn.Abandon() // no effect once it is complete
	if o := turn.Replay(); o != nil {
		return replayUnary(ctx, o)
	}
	if turn.Owner() == 0 { // nobody guards it
		return handle(turn.Context(), req)
	}
	r := newRecording(s.o.Guard.Options().MaxResponse)
	reply, err := handle(r.within(turn.Context()), req)
	if err == nil {
		r.message(reply)
	}
	if lost := turn.Complete(r.outcome(err)); errors.Is(lost, idempotency.ErrLost) {
		return nil, s.refuse(ctx, idempotency.ErrRunning) // what the new owner will say counts
	}
	return reply, err
}

// keyOf returns the key of a call, "" if it has none and needs none.
func (s *idempotentServer) keyOf(ctx context.Context, method string) (string, error) {
	required := slices.ContainsFunc(s.o.Require, func(pattern string) bool {
		service, all := strings.CutSuffix(pattern, "*")
		return pattern == method || all && strings.HasPrefix(method, service)
	})
	return s.o.Guard.Key(metadata.ValueFromIncomingContext(ctx, idempotency.Metadata), required)
}

// enter asks the guard about a call. A nil req says nothing about the request.
func (s *idempotentServer) enter(ctx context.Context, method, key string, req any) (*idempotency.Turn, error) {
	h := idempotency.NewHash(method)
	if m, ok := req.(proto.Message); ok {
		encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			return nil, status.Errorf(codes.Internal, "innermesh: take the fingerprint of a request of %s: %v", method, err)
		}
		_, _ = h.Write(encoded)
	}
	caller := certifiedPeer
	if s.o.Caller != nil {
		caller = s.o.Caller
	}
	return s.o.Guard.Enter(ctx, idempotency.Request{
		Protocol: call.GRPC, Caller: caller(ctx), Route: method, Key: key, Fingerprint: h.Sum(),
	})
}

// refuse gives a refusal its status. Where it helps to come again it says when,
// as gRFC A6 has it.
func (s *idempotentServer) refuse(ctx context.Context, err error) error {
	later, st := refusal(err)
	if later {
		after := s.o.Guard.Options().RetryAfter.Milliseconds()
		_ = grpc.SetTrailer(ctx, metadata.Pairs(pushbackTrailer, strconv.FormatInt(after, 10))) // the status counts
	}
	return st
}

// pushbackTrailer is the trailer by which a server says when to come again.
const pushbackTrailer = "grpc-retry-pushback-ms"

// refusal returns the status of a refusal, and whether it helps to come again.
func refusal(err error) (later bool, st error) {
	switch {
	case errors.Is(err, idempotency.ErrNoKey), errors.Is(err, idempotency.ErrKey), errors.Is(err, idempotency.ErrMismatch):
		return false, status.Error(codes.InvalidArgument, err.Error())
	case errors.Is(err, idempotency.ErrRunning):
		return true, status.Error(codes.Aborted, err.Error())
	case errors.Is(err, idempotency.ErrNotKept), errors.Is(err, idempotency.ErrLapsed):
		return false, status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, idempotency.ErrStore): // why is not the caller's to know
		return true, status.Error(codes.Unavailable, idempotency.ErrStore.Error())
	default:
		return false, err
	}
}

// certifiedPeer is the default of IdempotencyOptions.Caller.
func certifiedPeer(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			return idempotency.Certified(&info.State)
		}
	}
	return ""
}
