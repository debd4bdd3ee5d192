package grpcadapter

import (
	"reflect"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/outbound"
)

// parallel is one attempt of several that are made at once: what gRPC writes for
// it goes to places of its own, until it is chosen.
type parallel struct {
	try
	reply    any
	opts     []grpc.CallOption
	received []func() // hand what was written to the caller
}

// Prepare implements [outbound.Hedger].
func (x *unary) Prepare(a *outbound.Attempt) (send func() (error, call.Outcome)) {
	reply := reflect.ValueOf(x.reply)
	if reply.Kind() != reflect.Pointer || reply.IsNil() {
		return nil
	}
	p := &parallel{reply: reflect.New(reply.Type().Elem()).Interface()}
	p.Attempt = a
	p.separate(x.opts)
	if x.parallel == nil {
		x.parallel = make(map[*outbound.Attempt]*parallel)
	}
	x.parallel[a] = p
	ctx := p.outgoing(&x.Flight)
	return func() (error, call.Outcome) { //nolint:staticcheck // the error is the answer
		err := x.invoke(ctx, x.method, x.req, p.reply, x.cc, p.opts...)
		out, answered := p.judge(err)
		if !answered {
			return nil, out
		}
		return err, out
	}
}

// Choose implements [outbound.Hedger].
func (x *unary) Choose(a *outbound.Attempt) {
	p := x.parallel[a]
	if p == nil {
		return
	}
	for _, hand := range p.received {
		hand()
	}
	if to, ok := x.reply.(proto.Message); ok {
		proto.Reset(to)
		proto.Merge(to, p.reply.(proto.Message))
		return
	}
	reflect.ValueOf(x.reply).Elem().Set(reflect.ValueOf(p.reply).Elem())
}

// separate gives the attempt its own places for what the caller wants to know.
func (p *parallel) separate(opts []grpc.CallOption) {
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			own := new(metadata.MD)
			p.opts = append(p.opts, grpc.Header(own))
			p.received = append(p.received, func() { *o.HeaderAddr = *own })
		case grpc.TrailerCallOption:
			own := new(metadata.MD)
			p.opts = append(p.opts, grpc.Trailer(own))
			p.received = append(p.received, func() { *o.TrailerAddr = *own })
		case grpc.PeerCallOption:
			own := new(peer.Peer)
			p.opts = append(p.opts, grpc.Peer(own))
			p.received = append(p.received, func() { *o.PeerAddr = *own })
		default:
			p.opts = append(p.opts, o)
		}
	}
}
