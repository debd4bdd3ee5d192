package call

import "context"

// Inbound is what a call that this program serves has told about itself. The
// calls that are made to serve it go by it.
type Inbound struct {
	// Attempt is which try of its caller's it is, the first being 1; 0 if it did
	// not say.
	Attempt int
}

// AttemptHeader is the header, over gRPC the metadata, by which an attempt that
// is not the first says which it is.
const AttemptHeader = "innermesh-attempt"

// PriorityHeader is the header, over gRPC the metadata, that says how much a call
// matters; see [Options].
const PriorityHeader = "innermesh-priority"

type inboundKey struct{}

// Serving returns a context for what is done to serve a call.
func Serving(ctx context.Context, in Inbound) context.Context {
	return context.WithValue(ctx, inboundKey{}, in)
}

// InboundFrom returns what Serving put into the context, else the zero Inbound.
func InboundFrom(ctx context.Context) Inbound {
	in, _ := ctx.Value(inboundKey{}).(Inbound)
	return in
}
