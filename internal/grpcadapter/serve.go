package grpcadapter

import (
	"context"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/innermesh/innermesh/call"
)

// ServerOptions have the calls that a server serves keep what their callers have
// told: which attempt it is stands in [call.InboundFrom]. Deadlines gRPC keeps by
// itself.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			return next(serving(ctx), req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if ctx := serving(s.Context()); ctx != s.Context() {
				s = &served{s, ctx}
			}
			return next(srv, s)
		}),
	}
}

// served is a stream whose context knows of its attempt.
type served struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements [grpc.ServerStream].
func (s *served) Context() context.Context { return s.ctx }

func serving(ctx context.Context) context.Context {
	values := metadata.ValueFromIncomingContext(ctx, call.AttemptHeader)
	if len(values) != 1 {
		return ctx
	}
	n, err := strconv.ParseUint(values[0], 10, 31)
	if err != nil || n == 0 {
		return ctx
	}
	return call.Serving(ctx, call.Inbound{Attempt: int(n)})
}
