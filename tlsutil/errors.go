package tlsutil

import (
	"errors"
	"strings"
)

// What can be wrong with a name or a certificate, ours or the peer's. They are
// found with [errors.Is]; what concerns a peer comes inside a [*PeerError].
var (
	// ErrBadID: the text is no SPIFFE ID.
	ErrBadID = errors.New("not a valid SPIFFE ID")
	// ErrNotService: the SPIFFE ID is valid, but not that of a service.
	ErrNotService = errors.New("the SPIFFE ID does not name a service (want /ns/<namespace>/dc/<datacenter>/svc/<service>)")
	// ErrNoIdentity: this end has no certificate to show yet.
	ErrNoIdentity = errors.New("no identity: the certificate source has not delivered one")
	// ErrNoCertificate: the peer has shown no certificate.
	ErrNoCertificate = errors.New("no certificate was presented")
	// ErrNotLeaf: the certificate is that of a CA, which must not speak for
	// a service.
	ErrNotLeaf = errors.New("the certificate may sign others: it must not be used as an identity")
	// ErrOneURI: the certificate does not carry exactly one URI.
	ErrOneURI = errors.New("the certificate must carry exactly one URI, its SPIFFE ID")
	// ErrExpired: the certificate's time is over.
	ErrExpired = errors.New("the certificate has expired")
	// ErrNotYetValid: the certificate's time has not come; or a clock is wrong.
	ErrNotYetValid = errors.New("the certificate is not valid yet: compare the clocks")
	// ErrUntrusted: the chain does not lead to a root of its trust domain.
	ErrUntrusted = errors.New("the certificate is not trusted")
	// ErrForeignDomain: there are no roots for the peer's trust domain. It comes
	// with ErrUntrusted.
	ErrForeignDomain = errors.New("no roots for its trust domain")
	// ErrTooDeep: the peer has shown more certificates than any chain needs. It
	// comes with ErrUntrusted.
	ErrTooDeep = errors.New("the chain is too long")
	// ErrDenied: the peer is who it says, but not welcome here.
	ErrDenied = errors.New("the peer is not the one that is allowed here")
)

// PeerError tells why a peer was refused. A handshake returns it as it is.
type PeerError struct {
	// Peer is the name that was presented, zero if none could be read. It is
	// proven only if Err wraps [ErrDenied].
	Peer ID
	// Expected says in words who would have been welcome; empty if it did not
	// come to that.
	Expected string
	// Err is the reason, wrapping one of the sentinels of this package.
	Err error
}

// Error says who was refused, why, and who was expected.
func (e *PeerError) Error() string {
	var b strings.Builder
	b.WriteString("refused peer")
	if !e.Peer.IsZero() {
		b.WriteString(" " + e.Peer.String())
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Expected != "" {
		b.WriteString(": expected " + e.Expected)
	}
	return b.String()
}

// Unwrap returns the reason.
func (e *PeerError) Unwrap() error { return e.Err }
