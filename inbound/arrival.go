package inbound

import (
	"context"
	"crypto/tls"
	"net/textproto"
	"strings"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/tlsutil"
)

// Arrival is a call that comes in. Its adapter states the facts before
// [Server.Enter], the path adds what it finds out; when it is being served nobody
// changes it any more. It must not be copied.
type Arrival struct {
	// Protocol is how the call travels.
	Protocol call.Protocol
	// Method is the HTTP method, or the full gRPC method "/package.Service/Method".
	Method string
	// Host is the authority that was called.
	Host string
	// Path is as it came over the wire, escaped and without the query; of gRPC it
	// is the method. An authorizer that reads it in another way writes that here:
	// the handler then sees the same.
	Path string
	// Query is that of an HTTP request, raw. An authorizer that takes something out
	// writes the rest here: the handler then sees the same.
	Query string
	// Header are the header lines: an http.Header, or gRPC's metadata. Read only;
	// [Arrival.Rewrite] replaces them. [Arrival.Get] knows how the names are spelled.
	Header map[string][]string
	// TLS is the state of the connection, nil in the clear.
	TLS *tls.ConnectionState
	// Remote is the address that the connection comes from, with its port.
	Remote string
	// Stream says that the call may last long although all is well: a stream over
	// gRPC, a connection that is handed over, events over HTTP.
	Stream bool

	// Peer is who calls, as the [Identifier] says.
	Peer Peer
	// Priority says how much it matters that the call is carried out.
	Priority limit.Priority
	// Remaining is how long the caller waits for the answer, 0 if it does not say.
	Remaining time.Duration
	// Inbound is what calls that are made to serve this one go by: which attempt
	// it is, its priority, its ID.
	Inbound call.Inbound
	// Began is when the call came, on the clock of internal/mono.
	Began time.Duration

	rewritten bool
	cancel    context.CancelFunc // of its time; nil if it has no end of its own
	admission admission
	decision  Decision
	span      telemetry.Span
	within    serving
}

// Peer is who calls. The zero Peer is somebody unknown.
type Peer struct {
	// Name is what limits, logs and the audit call the peer: a SPIFFE ID, or the
	// subject of a token. It must have been verified.
	Name string
	// Service is the service of the mesh that calls, zero if it is none.
	Service tlsutil.ServiceID
	// ID is the SPIFFE ID of the caller. Via is that of the peer that vouches for
	// it, zero unless somebody speaks for others.
	ID, Via tlsutil.ID
	// Claims are those of the token that the peer has shown, nil if it has shown
	// none. Read only.
	Claims map[string]any
}

// Get returns the first value of a header or of metadata, "" if there is none.
func (a *Arrival) Get(name string) string {
	if v := a.Values(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Values returns all values of a header or of metadata. Read only.
func (a *Arrival) Values(name string) []string {
	if a.Protocol == call.GRPC {
		return a.Header[strings.ToLower(name)]
	}
	return a.Header[canonical(name)]
}

// canonical knows the names by heart that are looked for in every call; net/http
// makes those anew each time.
func canonical(name string) string {
	switch name {
	case call.AttemptHeader:
		return "Innermesh-Attempt"
	case call.PriorityHeader:
		return "Innermesh-Priority"
	case call.RequestIDHeader:
		return "X-Request-Id"
	case LeftHeader:
		return "X-Envoy-Expected-Rq-Timeout-Ms"
	case "traceparent":
		return "Traceparent"
	case "tracestate":
		return "Tracestate"
	case "baggage":
		return "Baggage"
	default:
		return textproto.CanonicalMIMEHeaderKey(name)
	}
}

// Rewrite gives the handler other header lines than have come: those that somebody
// else has to set, or nobody, are changed in a copy of Header. Only the steps of
// the path do so.
func (a *Arrival) Rewrite(header map[string][]string) { a.Header, a.rewritten = header, true }

// Rewritten says whether the handler is given other header lines than have come.
func (a *Arrival) Rewritten() bool { return a.rewritten }

// host is the remote address without the port, which tells apart those whom
// nobody knows.
func (a *Arrival) host() string {
	if i := strings.LastIndexByte(a.Remote, ':'); i >= 0 {
		return a.Remote[:i]
	}
	return a.Remote
}

// serving is the context of a call's handler. It lies in the arrival, so that it
// costs nothing.
type serving struct {
	context.Context //nolint:containedctx // it is one

	a *Arrival
}

type arrivalKey struct{}

// Value implements [context.Context].
func (s *serving) Value(key any) any {
	switch key.(type) {
	case arrivalKey:
		return s.a
	case call.InboundKey:
		return &s.a.Inbound
	default:
		return s.Context.Value(key)
	}
}

// ArrivalFrom returns the call that is being served, nil outside of a handler.
// Read only.
func ArrivalFrom(ctx context.Context) *Arrival {
	a, _ := ctx.Value(arrivalKey{}).(*Arrival)
	return a
}
