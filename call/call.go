package call

// Protocol is how a call travels.
type Protocol uint8

// The protocols a call can travel by.
const (
	HTTP Protocol = iota + 1
	GRPC
)

// String returns the name used in metrics, logs and documents.
func (p Protocol) String() string {
	switch p {
	case HTTP:
		return "http"
	case GRPC:
		return "grpc"
	default:
		return "unknown"
	}
}

// Call is what the application asked for: one request, answered by one or more
// attempts. An adapter fills it in before the call starts; after that the
// outbound path alone writes to it, from one goroutine.
type Call struct {
	// Service is the logical name of the callee, as discovery knows it.
	Service string
	// Protocol is how the call travels.
	Protocol Protocol
	// Method is the HTTP method, or the full gRPC method "/package.Service/Method".
	Method string
	// Idempotent says that the call may be repeated although it is unknown
	// whether an earlier attempt was carried out.
	Idempotent bool
	// Replayable says that everything sent so far can be sent again.
	Replayable bool
	// WaitForReady says that the caller would rather wait for an instance, as
	// long as its time lasts, than be told that there is none.
	WaitForReady bool
	// Stream says that the call outlives its first answer, so that only the
	// caller's own deadline bounds it.
	Stream bool
	// Serving is which attempt of its caller's the call is being served for that
	// this one is a part of; 0 if that is not known.
	Serving int
	// RequestID is that of the call being served, which this one hands on; empty
	// if there is none or the caller has put one on the request itself.
	RequestID string
	// Mirrored says that the call is a copy of another, or made to serve one.
	Mirrored bool
	// Options are what the caller said about this call with [With].
	Options Options
	// Key is the idempotency key that the library puts on all attempts, empty if
	// there is none or the caller has put it on the request itself.
	Key string

	// Attempts counts the tries begun so far, the first one included.
	Attempts int
	// Instance is the ID of the instance tried last.
	Instance string
	// Tries tells of the attempts that have failed, as in [Error].
	Tries []Try
}

// Repeatable says whether another attempt after one that was sent this far is
// harmless.
func (c *Call) Repeatable(s Sent) bool {
	return c.Replayable && (s == NotSent || c.Idempotent)
}

// Fail makes the error that tells the application how the call ended. The
// outcome's own error stays reachable with [errors.Is] and [errors.As].
func (c *Call) Fail(out Outcome) *Error {
	return &Error{
		Service:  c.Service,
		Method:   c.Method,
		Instance: c.Instance,
		Attempts: c.Attempts,
		Reason:   out.Reason,
		Sent:     out.Sent,
		Tries:    c.Tries,
		Err:      out.Err,
	}
}
