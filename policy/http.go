package policy

// The values of [HTTP].Protocol.
const (
	HTTP1 = "http1"
	HTTP2 = "http2"
)

// HTTP says how HTTP is spoken to the service. gRPC is not concerned.
type HTTP struct {
	// Protocol is "http1" for HTTP/1.1, or "http2" for HTTP/2: over TLS where
	// the connection is secured, else in the clear and without an upgrade
	// (h2c with prior knowledge). Nothing is negotiated: say what the service
	// speaks.
	// Default: http1. Example: "http2".
	Protocol string `json:"protocol,omitzero"`
}

func (h HTTP) check(c *checker) {
	c.oneOf("http.protocol", h.Protocol, HTTP1, HTTP2)
}
