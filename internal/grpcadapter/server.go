package grpcadapter

import (
	"context"
	"errors"
	"runtime/debug"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/inbound"
)

// ServerOptions take the calls of a server through the path in. The steps are
// those of a client's, turned round: describe the call, serve it, tell how it was
// answered.
//
// Calls of methods that the server does not have take it, too: gRPC would answer
// them by itself, and tell whoever asks what there is.
func ServerOptions(s *inbound.Server) []grpc.ServerOption {
	g := &server{s}
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(g.unary), grpc.ChainStreamInterceptor(g.stream), grpc.UnknownServiceHandler(unknown),
	}
}

// unknown answers calls of methods that the server does not have.
func unknown(_ any, ss grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(ss)
	return status.Errorf(codes.Unimplemented, "unknown service or method %s", method)
}

// otherMethod is what metrics and traces call them, after the semantic conventions:
// callers must not choose names.
const otherMethod = "_OTHER"

type server struct{ *inbound.Server }

// unary is a [grpc.UnaryServerInterceptor].
func (g *server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (reply any, err error) {
	a := &inbound.Arrival{}
	describeServed(ctx, a, info.FullMethod)
	inner, refused := g.Enter(ctx, a)
	_ = grpc.SetHeader(ctx, metadata.MD{call.RequestIDHeader: {a.Inbound.RequestID}}) // best effort, as all that follows the answer
	if refused != nil {
		trailer, st := g.refusal(refused)
		_ = grpc.SetTrailer(ctx, trailer)
		return nil, st
	}
	defer func() {
		trailer := g.leave(inner, a, recover(), &err)
		if trailer != nil {
			_ = grpc.SetTrailer(ctx, trailer)
		}
	}()
	return handle(arranged(inner, a), req)
}

// stream is a [grpc.StreamServerInterceptor].
func (g *server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	a := &inbound.Arrival{Stream: true}
	describeServed(ss.Context(), a, info.FullMethod)
	if srv == nil { // nobody serves it
		a.Method = otherMethod
	}
	ctx, refused := g.Enter(ss.Context(), a)
	_ = ss.SetHeader(metadata.MD{call.RequestIDHeader: {a.Inbound.RequestID}}) // as above
	if refused != nil {
		trailer, st := g.refusal(refused)
		ss.SetTrailer(trailer)
		return st
	}
	defer func() {
		if trailer := g.leave(ctx, a, recover(), &err); trailer != nil {
			ss.SetTrailer(trailer)
		}
	}()
	return handle(srv, &served{ss, arranged(ctx, a)})
}

// served is a stream with the context of its handler.
type served struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // as streams have one
}

// Context implements [grpc.ServerStream].
func (s *served) Context() context.Context { return s.ctx }

// arranged is the context as the handler sees it: with the metadata that the path
// in leaves.
func arranged(ctx context.Context, a *inbound.Arrival) context.Context {
	if a.Rewritten() {
		return metadata.NewIncomingContext(ctx, a.Header)
	}
	return ctx
}

// describeServed states the facts of a call.
func describeServed(ctx context.Context, a *inbound.Arrival, method string) {
	a.Protocol, a.Method, a.Path = call.GRPC, method, method
	md, _ := metadata.FromIncomingContext(ctx)
	a.Header = md
	if authority := md[":authority"]; len(authority) > 0 {
		a.Host = authority[0]
	}
	if p, ok := peer.FromContext(ctx); ok {
		if p.Addr != nil {
			a.Remote = p.Addr.String()
		}
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			a.TLS = &info.State
		}
	}
	if at, ok := ctx.Deadline(); ok {
		a.Remaining = max(time.Until(at), 1)
	}
}

// refusal gives a refusal its status, and says when it helps to come again, as gRFC
// A6 has it.
func (g *server) refusal(err error) (metadata.MD, error) {
	e, ok := errors.AsType[*inbound.RefusedError](err)
	if !ok {
		e = &inbound.RefusedError{Reason: inbound.Denied}
	}
	trailer := g.tellLoad(metadata.MD{})
	if e.RetryAfter > 0 {
		after := (e.RetryAfter + time.Millisecond - 1).Milliseconds()
		trailer[pushbackTrailer] = []string{strconv.FormatInt(after, 10)}
	}
	return trailer, status.Error(codes.Code(e.Code()), e.Message())
}

// leave ends a call when the handler has returned, or panicked, and returns what
// is told beside the status.
func (g *server) leave(ctx context.Context, a *inbound.Arrival, value any, err *error) metadata.MD {
	e := inbound.Ending{Panicked: value != nil}
	if e.Panicked {
		g.Panicked(ctx, a, value, debug.Stack())
		*err = status.Error(codes.Internal, "innermesh: the handler has failed")
	}
	code := codeOfAnswer(*err)
	e.Status, e.Reason = int(code), call.ClassifyGRPC(uint32(code))
	trailer := g.tellLoad(nil) // before the leaving: with this call
	g.Leave(a, e)
	return trailer
}

// tellLoad adds to a trailer, which may be nil, how much this program carries.
func (g *server) tellLoad(to metadata.MD) metadata.MD {
	if utilization, known := g.Load(); known {
		if to == nil {
			to = make(metadata.MD, 1)
		}
		to[loadTrailer] = []string{loadReport(utilization)}
	}
	return to
}

// codeOfAnswer is the code that gRPC makes of a handler's error.
func codeOfAnswer(err error) codes.Code {
	if st, ok := status.FromError(err); ok {
		return st.Code()
	}
	return status.FromContextError(err).Code()
}
