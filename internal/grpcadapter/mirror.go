package grpcadapter

import (
	"context"

	"google.golang.org/grpc"
	encoding "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/internal/outbound"
)

// Expect implements [outbound.Copier]. Only protobuf's messages can be copied.
func (x *unary) Expect(most int) outbound.Moment {
	req, reply := message(x.req), message(x.reply)
	if req == nil || reply == nil || subtypeOf(x.opts) != "" && subtypeOf(x.opts) != encoding.Name || proto.Size(req) > most {
		return outbound.Never
	}
	return outbound.Now
}

// Copy implements [outbound.Copier]: until the call returns, the message is ours
// to read.
func (x *unary) Copy(ctx context.Context, _ int) (outbound.Copy[error], bool) {
	md, _ := metadata.FromOutgoingContext(x.ctx) // a copy
	given := md.Get(idempotency.Metadata)
	md.Delete(idempotency.Metadata)
	md.Delete(call.AttemptHeader)
	ctx = metadata.NewOutgoingContext(ctx, md)
	c := &unary{
		facts: facts{ctx: ctx, service: x.service, method: x.method},
		req:   proto.Clone(message(x.req)), reply: message(x.reply).ProtoReflect().New().Interface(),
		cc: x.cc, invoke: x.invoke, opts: optionsOfCopy(x.opts),
	}
	describe(ctx, &c.Call, x.service, x.method, c.opts)
	switch {
	case len(given) > 0:
		c.Key = outbound.CopyKey(given[0])
	case x.Key != "":
		c.Key = outbound.CopyKey(x.Key)
	}
	return outbound.Copy[error]{Context: ctx, Flight: &c.Flight, Exchange: c}, true
}

// message returns what protobuf's codec takes for a message, else nil.
func message(v any) proto.Message {
	switch m := v.(type) {
	case proto.Message:
		return m
	case protoadapt.MessageV1:
		return protoadapt.MessageV2Of(m)
	default:
		return nil
	}
}

// optionsOfCopy are the options of a call that say how it is sent, not those by
// which its caller hears of it.
func optionsOfCopy(opts []grpc.CallOption) (kept []grpc.CallOption) {
	for _, o := range opts {
		switch o.(type) {
		case grpc.MaxRecvMsgSizeCallOption, grpc.MaxSendMsgSizeCallOption, grpc.CompressorCallOption,
			grpc.PerRPCCredsCallOption, grpc.ContentSubtypeCallOption, grpc.StaticMethodCallOption:
			kept = append(kept, o)
		}
	}
	return kept
}
