package call

import "context"

// Inbound is what a call that this program serves has told about itself. The
// calls that are made to serve it go by it.
type Inbound struct {
	// Attempt is which try of its caller's it is, the first being 1; 0 if it did
	// not say.
	Attempt int
	// Priority says how much it matters, in the words of [Options]; empty if it
	// did not say. Calls that say nothing themselves have it, too.
	Priority string
	// RequestID tells it apart in logs, in those of the programs that it leads to
	// as well. Empty outside of a server of the mesh.
	RequestID string
	// Mirrored says that it is a copy of a call, sent to see how its callee bears
	// it; nobody reads the answer. Whoever serves it may want to leave out what has
	// effects elsewhere. Calls that are made to serve it are marked in the same way.
	Mirrored bool
}

// AttemptHeader is the header, over gRPC the metadata, by which an attempt that
// is not the first says which it is.
const AttemptHeader = "innermesh-attempt"

// MirroredHeader is the header, over gRPC the metadata, that marks copies of
// calls (see the policy's mirror); its value is "1".
const MirroredHeader = "innermesh-mirrored"

// PriorityHeader is the header, over gRPC the metadata, that says how much a call
// matters; see [Options].
const PriorityHeader = "innermesh-priority"

// RequestIDHeader is the header, over gRPC the metadata, of a request's ID.
const RequestIDHeader = "x-request-id"

// InboundKey is the key under which a context has an *[Inbound], for contexts
// that answer it themselves; all others use [Serving].
type InboundKey struct{}

// Serving returns a context for what is done to serve a call.
func Serving(ctx context.Context, in Inbound) context.Context {
	return context.WithValue(ctx, InboundKey{}, &in)
}

// InboundFrom returns what Serving put into the context, else the zero Inbound.
func InboundFrom(ctx context.Context) Inbound {
	if in, ok := ctx.Value(InboundKey{}).(*Inbound); ok {
		return *in
	}
	return Inbound{}
}
