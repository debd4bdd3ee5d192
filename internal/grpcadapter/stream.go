package grpcadapter

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/internal/outbound"
)

// stream is a [grpc.StreamClientInterceptor].
func (c *client) stream(
	ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	service, ok := serviceOf(cc)
	if !ok {
		return open(ctx, desc, cc, method, opts...)
	}
	if mark, marked := deadletter.MarkFrom(ctx); marked && !mark.Off && c.letters != nil {
		return nil, errDurableStream
	}
	x := &stream{facts: facts{ctx: ctx, service: service, method: method}, desc: desc, cc: cc, open: open, opts: opts}
	describe(ctx, &x.Call, service, method, opts)
	x.Stream = true
	opened, err := outbound.Do(ctx, c.directory, &x.Flight, x)
	if err != nil {
		return nil, statusOf(err)
	}
	if opened.refused != nil {
		x.End(x.refusal)
		return nil, opened.refused
	}
	x.take(opened)
	return x, nil
}

// errDurableStream is told before anything is sent: who has asked that nothing be
// lost must not find out afterwards.
var errDurableStream = status.Error(codes.Unimplemented,
	"innermesh: a stream can not be kept as a letter: make it a call with one request and one answer, or take deadletter.With off its context")

// stream is one streaming call. A call that streams only from the server is
// tried again until its first message has come: its one request is kept until
// then. Of the others only the opening is tried again.
//
// As gRPC has it, one goroutine may send while another receives; the receiving
// one alone moves the call to another attempt.
type stream struct {
	outbound.Flight
	facts
	desc *grpc.StreamDesc
	cc   *grpc.ClientConn
	open grpc.Streamer
	opts []grpc.CallOption

	current   atomic.Pointer[opened]
	refusal   call.Outcome
	request   any  // the one message of a call that streams only from the server
	asked     bool // it was sent
	closed    bool // and nothing will follow
	committed bool // the caller has seen something of this attempt
}

// opened is the stream of one attempt, or the status that refused it.
type opened struct {
	grpc.ClientStream
	try     *try
	refused error
	unwatch func() bool
}

// Send opens the stream of one attempt, and on any but the first says again
// what was said.
func (x *stream) Send(a *outbound.Attempt) (*opened, call.Outcome) {
	t := &try{Attempt: a}
	s, err := x.open(t.outgoing(&x.Flight), x.desc, x.cc, x.method, x.opts...)
	if err == nil && x.asked {
		err = x.ask(s)
	}
	if err != nil {
		out, answered := t.judge(err)
		learnIdempotency(a, &x.Flight)
		if !answered {
			return nil, out
		}
		x.refusal = out
		return &opened{refused: err}, out
	}
	return &opened{ClientStream: s, try: t}, call.Outcome{Sent: call.Answered}
}

// ask sends the request again. io.EOF means that the stream is broken already;
// receiving will say why.
func (x *stream) ask(s grpc.ClientStream) error {
	if err := s.SendMsg(x.request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if x.closed {
		return s.CloseSend()
	}
	return nil
}

// Discard has nothing to do: the attempt's context ends the stream.
func (x *stream) Discard(*opened) {}

// take makes a stream the one that the caller talks to. Who drops a stream
// cancels its context, as gRPC demands; that must end the call too.
func (x *stream) take(o *opened) {
	x.current.Store(o)
	o.unwatch = context.AfterFunc(o.try, func() {
		_ = x.end(o, status.FromContextError(o.try.Err()).Err()) // who still reads is told by gRPC
	})
}

// onlyServerStreams says whether the call can be repeated from its one request.
func (x *stream) onlyServerStreams() bool { return x.desc.ServerStreams && !x.desc.ClientStreams }

// SendMsg implements [grpc.ClientStream].
func (x *stream) SendMsg(m any) error {
	if x.onlyServerStreams() {
		x.request, x.asked = m, true
	} else {
		x.Replayable = false
	}
	o := x.current.Load()
	x.Wait()
	err := o.SendMsg(m)
	x.Move()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return err // receiving will say why
		}
		return x.finish(o, err)
	}
	return nil
}

// CloseSend implements [grpc.ClientStream].
func (x *stream) CloseSend() error {
	x.closed = true
	return x.current.Load().CloseSend()
}

// RecvMsg implements [grpc.ClientStream].
func (x *stream) RecvMsg(m any) error {
	for {
		o := x.current.Load()
		x.Wait()
		err := o.RecvMsg(m)
		x.Move()
		if err == nil {
			x.commit()
			if x.desc.ServerStreams {
				return nil
			}
			return x.finish(o, nil) // the only answer
		}
		if errors.Is(err, io.EOF) || x.committed || !x.onlyServerStreams() {
			return x.finish(o, err)
		}
		next, err := x.again(o, err)
		if err != nil {
			return err
		}
		x.take(next)
	}
}

// again tries another attempt for a stream that broke before its first message.
// What the instance has said stands if nothing better comes of it.
func (x *stream) again(o *opened, err error) (*opened, error) {
	o.unwatch()
	out, answered := o.try.judge(err)
	learnIdempotency(o.try, &x.Flight)
	next, failure := outbound.Again(&x.Flight, x, out)
	switch {
	case failure == nil && next.refused == nil:
		return next, nil
	case failure == nil: // there is no stream that would end the call
		x.End(x.refusal)
		failure = next.refused
	}
	if answered {
		return nil, err
	}
	return nil, statusOf(failure)
}

// commit notes that the caller has seen something of the answer: from now on the
// call stays with this attempt, and the instance has done well.
func (x *stream) commit() {
	if !x.committed {
		x.committed = true
		x.request = nil
		x.Judge(call.Outcome{Sent: call.Answered})
	}
}

// finish ends the call as its stream has ended, and says how: in the words of
// the instance if they are, else with the call's error.
func (x *stream) finish(o *opened, err error) error {
	o.unwatch()
	if errors.Is(err, io.EOF) {
		_ = x.end(o, nil)
		return err
	}
	return x.end(o, err)
}

func (x *stream) end(o *opened, err error) error {
	if x.current.Load() != o {
		return err // an attempt that was given up
	}
	out, answered := o.try.judge(err)
	if answered {
		x.End(out)
		return err
	}
	return statusOf(x.Broke(out))
}

// Header implements [grpc.ClientStream]. Once the caller has seen headers the
// call is not tried again.
func (x *stream) Header() (metadata.MD, error) {
	o := x.current.Load()
	md, err := o.Header()
	if err == nil {
		x.commit()
		changeResponse(md, &x.Flight) // gRPC hands out a copy each time
		md = marked(md, &x.Flight)
	}
	return md, err
}

// Trailer implements [grpc.ClientStream].
func (x *stream) Trailer() metadata.MD { return x.current.Load().Trailer() }

// Context implements [grpc.ClientStream].
func (x *stream) Context() context.Context { return x.current.Load().Context() }
