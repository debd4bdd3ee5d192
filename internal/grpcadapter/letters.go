package grpcadapter

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/idempotency"
)

// NewLetter makes a letter of a call. The metadata are those that ctx would
// send. Messages can be kept whose content-subtype has a registered codec; "" is
// protobuf's.
func NewLetter(ctx context.Context, service, method, subtype string, request any) (deadletter.Letter, error) {
	l := deadletter.Letter{Protocol: call.GRPC.String(), Service: service, Method: method, Header: http.Header{}}
	md, _ := metadata.FromOutgoingContext(ctx)
	for name, values := range md {
		switch name {
		case idempotency.Metadata:
			l.Key = strings.Join(values, ",")
		case "traceparent", "tracestate", "baggage":
			l.Trace = traced(l.Trace, name, strings.Join(values, ","))
		default:
			l.Header[name] = values
		}
	}
	if key := call.OptionsFrom(ctx).Key; l.Key == "" && key != "" {
		l.Key = spell(key)
	}
	if subtype == "" {
		subtype = proto.Name
	}
	l.Header[contentType] = []string{grpcType + subtype}
	codec := encoding.GetCodecV2(subtype)
	if codec == nil {
		return l, fmt.Errorf("make a letter of %s: no codec is registered for %q", method, subtype)
	}
	body, err := codec.Marshal(request)
	if err != nil {
		return l, fmt.Errorf("make a letter of %s: %w", method, err)
	}
	l.Body = body.Materialize()
	body.Free()
	return l, nil
}

// What says in a letter how its message is encoded, as on the wire.
const (
	contentType = "content-type"
	grpcType    = "application/grpc+"
)

func traced(trace map[string]string, name, value string) map[string]string {
	if trace == nil {
		trace = map[string]string{}
	}
	trace[name] = value
	return trace
}

// durable says whether a call must not be lost, in which case it needs a key.
func (c *client) durable(ctx context.Context, method string) bool {
	return c.letters != nil && c.letters.Durable(ctx, declaredSafe(method))
}

// keep makes a letter of a durable call that has failed, and returns what the
// caller is told, who would have been told told. The request is read here: until
// the call returns it is the caller's duty to leave it alone.
func (c *client) keep(x *unary, failure *call.Error, told error) error {
	if !c.letters.Lost(x.ctx, failure) {
		return told
	}
	l, err := NewLetter(x.ctx, x.service, x.method, subtypeOf(x.opts), x.req)
	l.Incomplete = err != nil // whoever reads it can not send it either
	if x.Key != "" {
		l.Key = spell(x.Key)
	}
	for i := 0; i+1 < len(x.first.trace); i += 2 {
		l.Trace = traced(l.Trace, x.first.trace[i], x.first.trace[i+1])
	}
	return c.letters.Keep(x.ctx, l, &lostError{told: told, failure: failure})
}

// lostError is what the caller would have been told, with the call's error for
// whoever looks for it.
type lostError struct {
	told    error
	failure *call.Error
}

// Error implements error.
func (f *lostError) Error() string { return f.told.Error() }

// Unwrap keeps both reachable, the status first.
func (f *lostError) Unwrap() []error { return []error{f.told, f.failure} }

// subtypeOf finds out how the messages of a call are encoded. A codec that was
// forced on a call is known by its name.
func subtypeOf(opts []grpc.CallOption) (subtype string) {
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.ContentSubtypeCallOption:
			subtype = o.ContentSubtype
		case grpc.ForceCodecV2CallOption:
			subtype = o.CodecV2.Name()
		case grpc.ForceCodecCallOption:
			subtype = o.Codec.Name()
		}
	}
	return subtype
}

// failure makes the call's error of the status that an instance has answered
// with, nil if the status is not the instance's fault.
func (x *unary) failure(answer error) *call.Error {
	code := uint32(status.Code(answer))
	reason := call.ClassifyGRPC(code)
	if reason == call.OK {
		return nil
	}
	return x.Failure(call.Outcome{Reason: reason, Sent: call.Answered, Status: int(code), Err: answer})
}
