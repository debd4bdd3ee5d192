package tlsutil

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
)

// Reason is why a handshake came to nothing, in one word for metrics and logs.
type Reason string

// The reasons there are.
const (
	ReasonDenied        Reason = "denied"         // another service than is welcome
	ReasonTrustDomain   Reason = "trust_domain"   // of a trust domain without roots here
	ReasonUntrusted     Reason = "untrusted"      // no chain to a root: self-signed, for example
	ReasonTooDeep       Reason = "chain_too_deep" // more certificates than any chain needs
	ReasonExpired       Reason = "expired"        // the peer's certificate is over
	ReasonNotYetValid   Reason = "not_yet_valid"  // its time has not come
	ReasonNoCertificate Reason = "no_certificate" // the peer has shown none
	ReasonURIs          Reason = "uris"           // it does not carry exactly one URI
	ReasonBadID         Reason = "spiffe_id"      // its URI is no SPIFFE ID
	ReasonNotLeaf       Reason = "not_leaf"       // it is a CA's
	ReasonPlaintext     Reason = "plaintext"      // the peer does not speak TLS
	ReasonVersion       Reason = "version"        // it speaks too old a version
	ReasonRenegotiation Reason = "renegotiation"  // it wanted to begin anew in the middle
	ReasonTimeout       Reason = "timeout"        // it was too slow
	ReasonCrowded       Reason = "crowded"        // it was slow while others waited for its place
	ReasonAborted       Reason = "aborted"        // it hung up
	ReasonRefusedUs     Reason = "refused_us"     // it does not want our certificate
	ReasonNoIdentity    Reason = "no_identity"    // this end has none that is valid
	ReasonOther         Reason = "other"          // malformed messages, nothing in common
)

// bySentinel is looked through in order: the narrower reason comes first.
var bySentinel = [...]struct {
	err    error
	reason Reason
}{
	{ErrForeignDomain, ReasonTrustDomain},
	{ErrTooDeep, ReasonTooDeep},
	{ErrUntrusted, ReasonUntrusted},
	{ErrExpired, ReasonExpired},
	{ErrNotYetValid, ReasonNotYetValid},
	{ErrNoCertificate, ReasonNoCertificate},
	{ErrOneURI, ReasonURIs},
	{ErrBadID, ReasonBadID},
	{ErrNotLeaf, ReasonNotLeaf},
	{ErrDenied, ReasonDenied},
}

// ReasonOf says why a handshake has failed, given its error. Nil is [ReasonOther]:
// it is no reason.
func ReasonOf(err error) Reason {
	if pe, ok := errors.AsType[*PeerError](err); ok {
		for _, s := range bySentinel {
			if errors.Is(pe, s.err) {
				return s.reason
			}
		}
		return ReasonOther
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return ReasonPlaintext
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" { // how crypto/tls tells an alert
		return ReasonRefusedUs
	}
	switch {
	case errors.Is(err, ErrNoIdentity), errors.Is(err, ErrExpired), errors.Is(err, ErrNotYetValid):
		return ReasonNoIdentity
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), isReset(err), errors.Is(err, context.Canceled):
		return ReasonAborted
	default:
		return ReasonOther
	}
}

// isReset says whether the connection itself broke.
func isReset(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "read" || op.Op == "write")
}
