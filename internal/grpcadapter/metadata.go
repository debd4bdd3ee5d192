package grpcadapter

import (
	"context"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/internal/outbound"
	"github.com/innermesh/innermesh/internal/route"
)

// outgoing is the try as the context of a call on the wire: its metadata are the
// caller's, as the route changes them, and the trace.
func (t *try) outgoing(f *outbound.Flight) context.Context {
	ctx := changeRequest(withKey(t, f.Key), f)
	t.trace = t.room[:0]
	if f.Options.Priority != "" {
		t.trace.Set(call.PriorityHeader, f.Options.Priority)
	}
	if f.RequestID != "" {
		t.trace.Set(call.RequestIDHeader, f.RequestID)
	}
	if f.Mirrored {
		t.trace.Set(call.MirroredHeader, "1")
	}
	if t.Number > 1 {
		t.trace.Set(call.AttemptHeader, strconv.Itoa(t.Number))
	}
	f.Inject(t.Attempt, &t.trace)
	if len(t.trace) == 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, t.trace...)
}

func withKey(ctx context.Context, key string) context.Context {
	if key == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, idempotency.Metadata, spell(key))
}

// spell writes a key so that a receiver reads it: as it is, or in quotes if it
// would not be taken for one.
func spell(key string) string {
	if read, err := idempotency.ParseKey(key); err == nil && read == key {
		return key
	}
	return idempotency.FormatKey(key)
}

func changeRequest(ctx context.Context, f *outbound.Flight) context.Context {
	way, leg := f.Route(), f.Leg()
	if leg.Request.None() && way.Request.None() {
		return ctx
	}
	md, ok := metadata.FromOutgoingContext(ctx) // a copy
	if !ok {
		md = metadata.MD{}
	}
	leg.Request.Metadata(md)
	way.Request.Metadata(md)
	return metadata.NewOutgoingContext(ctx, md)
}

// changeResponse makes of received header metadata what the route says.
func changeResponse(md metadata.MD, f *outbound.Flight) {
	for _, h := range [...]*route.Headers{&f.Leg().Response, &f.Route().Response} {
		if md != nil && !h.None() {
			h.Metadata(md)
		}
	}
}

// changeReceived does that where the caller wants the header of a unary call.
func changeReceived(opts []grpc.CallOption, f *outbound.Flight) {
	for _, o := range opts {
		if h, ok := o.(grpc.HeaderCallOption); ok {
			changeResponse(*h.HeaderAddr, f)
		}
	}
}

// carrier collects what a propagator writes.
type carrier []string

// Get implements [telemetry.Carrier]; nothing reads what is on its way out.
func (c *carrier) Get(string) string { return "" }

// Set implements [telemetry.Carrier].
func (c *carrier) Set(key, value string) { *c = append(*c, key, value) }

// Keys implements [telemetry.Carrier].
func (c *carrier) Keys() []string { return nil }
