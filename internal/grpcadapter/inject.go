package grpcadapter

import (
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/outbound"
)

// Pretend implements [outbound.Pretender].
func (x *unary) Pretend(a *outbound.Attempt, http, code int) (error, call.Outcome) { //nolint:revive,staticcheck // the error is the answer
	err, out := pretend(a, http, code)
	return err, out
}

// Pretend implements [outbound.Pretender].
func (x *stream) Pretend(a *outbound.Attempt, http, code int) (*opened, call.Outcome) {
	err, out := pretend(a, http, code)
	x.refusal = out
	return &opened{refused: err}, out
}

// pretend is the answer of an instance that was not asked.
func pretend(a *outbound.Attempt, http, code int) (error, call.Outcome) { //nolint:revive,staticcheck // the error is the answer
	c := codes.Code(code)
	if code == 0 {
		c = codeOfStatus(http)
	}
	out := call.Outcome{Reason: call.ClassifyGRPC(uint32(c)), Sent: call.Answered, Status: int(c)}
	return &injectedError{a.Injected().Name, c}, out
}

// injectedError is a status that matches [call.ErrInjected].
type injectedError struct {
	name string
	code codes.Code
}

// Error implements error.
func (e *injectedError) Error() string { return e.GRPCStatus().Err().Error() }

// Unwrap returns [call.ErrInjected].
func (e *injectedError) Unwrap() error { return call.ErrInjected }

// GRPCStatus is what status.FromError looks for.
func (e *injectedError) GRPCStatus() *status.Status {
	return status.New(e.code, e.name+": "+call.ErrInjected.Error())
}

// codeOfStatus is gRPC's own mapping of what proxies answer.
func codeOfStatus(code int) codes.Code {
	switch code {
	case http.StatusBadRequest:
		return codes.Internal
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.Unimplemented
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return codes.Unavailable
	default:
		return codes.Unknown
	}
}

// mark tells of trouble that was made for an attempt, where the caller wants the
// header of a unary call.
func mark(opts []grpc.CallOption, f *outbound.Flight) {
	a := f.Attempt()
	if a == nil || a.Injected() == nil {
		return
	}
	for _, o := range opts {
		if h, ok := o.(grpc.HeaderCallOption); ok {
			*h.HeaderAddr = marked(*h.HeaderAddr, f)
		}
	}
}

// marked is a header that tells of trouble made for the attempt.
func marked(md metadata.MD, f *outbound.Flight) metadata.MD {
	a := f.Attempt()
	if a == nil || a.Injected() == nil {
		return md
	}
	if md == nil {
		md = metadata.MD{}
	}
	md.Set(call.InjectedHeader, a.Injected().Name)
	return md
}
