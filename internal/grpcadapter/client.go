package grpcadapter

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/outbound"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/limit"
)

// client holds the interceptors of the connections of one mesh.
type client struct {
	directory *upstream.Directory
	letters   *deadletter.Recorder // nil if none are kept
}

// unary is a [grpc.UnaryClientInterceptor].
func (c *client) unary(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	service, ok := serviceOf(cc)
	if !ok {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	x := &unary{facts: facts{ctx: ctx, service: service, method: method}, req: req, reply: reply, cc: cc, invoke: invoke, opts: opts}
	describe(ctx, &x.Call, service, method, opts)
	durable := c.durable(ctx, method)
	x.Options.Keyed = x.Options.Keyed || durable
	answer, err := outbound.Do(ctx, c.directory, &x.Flight, x)
	if err != nil {
		told := statusOf(err)
		if e, ok := errors.AsType[*call.Error](err); ok && durable {
			told = c.keep(x, e, told)
		}
		return told
	}
	changeReceived(opts, &x.Flight)
	mark(opts, &x.Flight)
	x.End(call.Outcome{})
	if durable && answer != nil {
		if e := x.failure(answer); e != nil {
			return c.keep(x, e, answer)
		}
	}
	return answer
}

// unary is one call with one request and one answer. The answer is the status
// that the instance sent, nil if that was OK.
type unary struct {
	outbound.Flight
	facts
	req, reply any
	cc         *grpc.ClientConn
	invoke     grpc.UnaryInvoker
	opts       []grpc.CallOption
	first      try
	parallel   map[*outbound.Attempt]*parallel // nil unless the call is hedged
}

// Send makes one attempt.
func (x *unary) Send(a *outbound.Attempt) (error, call.Outcome) { //nolint:revive,staticcheck // the error is the answer
	t := &x.first
	if a.Number > 1 {
		t = new(try) // gRPC may still hold on to the first
	}
	t.Attempt = a
	err := x.invoke(t.outgoing(&x.Flight), x.method, x.req, x.reply, x.cc, x.opts...)
	out, answered := t.judge(err)
	if out.Reason != call.OK {
		learnIdempotency(a, &x.Flight)
	}
	if !answered {
		return nil, out
	}
	return err, out
}

// Discard has nothing to do: an answer is a value.
func (x *unary) Discard(error) {}

// describe states the facts of a call.
func describe(ctx context.Context, c *call.Call, service, method string, opts []grpc.CallOption) {
	c.Service, c.Protocol, c.Method = service, call.GRPC, method
	c.Options = call.OptionsFrom(ctx)
	c.Replayable = true
	c.Idempotent = declaredIdempotent(method)
	for _, o := range opts {
		if f, ok := o.(grpc.FailFastCallOption); ok {
			c.WaitForReady = !f.FailFast
		}
	}
}

// serviceOf returns the service a client connection was made for. What was
// dialled is nearly always in its canonical form, which gRPC makes anew each time
// that it is asked for it.
func serviceOf(cc *grpc.ClientConn) (string, bool) {
	if service, ok := cutTarget(cc.Target()); ok && isPlain(service) {
		return service, true
	}
	return cutTarget(cc.CanonicalTarget())
}

// statusError is a call's error as gRPC's callers expect it.
type statusError struct{ cause *call.Error }

// statusOf gives the error of a call its gRPC status.
func statusOf(err error) error {
	if e, ok := errors.AsType[*call.Error](err); ok {
		return &statusError{e}
	}
	return err
}

// Error implements error.
func (e *statusError) Error() string { return e.cause.Error() }

// Unwrap keeps the call's error reachable.
func (e *statusError) Unwrap() error { return e.cause }

// GRPCStatus is what status.FromError and status.Code look for.
func (e *statusError) GRPCStatus() *status.Status {
	return status.New(codeOf(e.cause), e.cause.Error())
}

// codeOf keeps the code gRPC gave, if it gave one, and else says by the reason
// what the other languages' clients would say.
func codeOf(e *call.Error) codes.Code {
	switch e.Reason {
	case call.TryTimeout, call.Expired:
		return codes.DeadlineExceeded
	case call.Canceled:
		return codes.Canceled
	case call.Throttled:
		return codes.ResourceExhausted
	default:
		switch {
		case errors.Is(e, cluster.ErrClosed):
			return codes.Canceled // as a closed client connection
		case errors.Is(e, call.ErrDenied):
			return codes.PermissionDenied // as the callee would say
		case errors.Is(e, limit.ErrFull), errors.Is(e, limit.ErrRate), errors.Is(e, limit.ErrOverloaded):
			return codes.ResourceExhausted
		}
		return codes.Unavailable
	}
}
