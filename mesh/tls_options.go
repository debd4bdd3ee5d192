package mesh

import (
	"time"

	"github.com/innermesh/innermesh/tlsutil"
)

// TLSOptions say how connections are secured. One of Source, Consul and DevCA
// says where this program's identity comes from; without any everything is in
// plain text.
type TLSOptions struct {
	// Source holds this program's identity and whom it trusts. Default: none.
	Source tlsutil.Source
	// Consul takes the identity of this program's service from Consul's CA,
	// through the agent, which needs a token with service:write on it. Servers
	// must then be the very target of a call, its datacenter included; of those that
	// Consul has, calls go to the ones that speak mTLS natively, as this program is
	// registered too, or by a sidecar. Calls and handshakes wait for the identity as
	// long as a connection may take. Versions and cipher suites are those of Consul's
	// mesh config entry. Default: false.
	Consul bool
	// DevCA makes up the identity of this program's service, for development and
	// for tests within one process. Default: none.
	DevCA *tlsutil.DevCA

	// Mode says what a server accepts. Default: [TLSStrict] if there is an
	// identity, else [TLSOff].
	Mode TLSMode
	// PlainCalls leaves this program's own calls in plain text, while there are
	// servers that do not speak TLS yet. To move a mesh to TLS without a failed
	// call: first give every program an identity, TLSPermissive and PlainCalls;
	// when all have it, take PlainCalls away; then TLSPermissive. Default: false.
	PlainCalls bool

	// Authorize says which clients a server welcomes. Default:
	// [tlsutil.AuthorizeMesh], the services of this program's own trust domain.
	Authorize tlsutil.Authorizer
	// HandshakeTimeout bounds a server's handshakes. Default: 10 s.
	HandshakeTimeout time.Duration
	// Handshakes is how many a server makes at a time. When that many are under
	// way, the oldest gives way if it has taken a tenth of HandshakeTimeout, else
	// new ones wait. Default: 1,024.
	Handshakes int
}

// TLSMode is what a server accepts.
type TLSMode string

// The modes there are.
const (
	// TLSStrict accepts TLS with a certificate that is welcome, and nothing else.
	TLSStrict TLSMode = "strict"
	// TLSPermissive accepts plain text as well, on the same port, while programs
	// move to TLS. Each address that comes in plain text is logged once. Who says
	// nothing at first, as clients of some protocols do, is not served.
	TLSPermissive TLSMode = "permissive"
	// TLSOff accepts plain text only, and calls in plain text, whatever identity
	// there is.
	TLSOff TLSMode = "off"
)

func (o TLSOptions) validate(fault func(field, format string, args ...any)) {
	sources := 0
	for _, set := range []bool{o.Source != nil, o.Consul, o.DevCA != nil} {
		if set {
			sources++
		}
	}
	if sources > 1 {
		fault("TLS", "has more than one of Source, Consul and DevCA: choose one")
	}
	switch o.Mode {
	case "", TLSOff:
	case TLSStrict, TLSPermissive:
		if sources == 0 {
			fault("TLS.Mode", "is %q without an identity: give Source, Consul or DevCA", o.Mode)
		}
	default:
		fault("TLS.Mode", "is %q: want %q, %q or %q", o.Mode, TLSStrict, TLSPermissive, TLSOff)
	}
	if o.PlainCalls && o.Mode != TLSPermissive {
		fault("TLS.PlainCalls", "is for moving to TLS: set Mode to %q", TLSPermissive)
	}
	if o.HandshakeTimeout < 0 {
		fault("TLS.HandshakeTimeout", "is %s: want more than nothing, or 0 for 10 s", o.HandshakeTimeout)
	}
	if o.Handshakes < 0 {
		fault("TLS.Handshakes", "is %d: want 1 or more, or 0 for 1,024", o.Handshakes)
	}
}
