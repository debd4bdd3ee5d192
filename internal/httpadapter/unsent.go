package httpadapter

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/innermesh/innermesh/call"
)

// unsentError says that an instance has not looked at an attempt.
type unsentError struct {
	err     error
	reason  call.Reason
	nothing bool // was written
}

// Error implements error.
func (e *unsentError) Error() string { return e.err.Error() }

// Unwrap returns what went wrong.
func (e *unsentError) Unwrap() error { return e.err }

// unsent says whether an attempt that failed was looked at by the instance: nil
// if it may have been. written is how much had been before it.
func (c *conn) unsent(err error, written int64, over bool) *unsentError {
	if c.http2 {
		if s, ok := errors.AsType[streamError](err); ok && s.Code == refusedStream {
			return &unsentError{err, call.Refused, false}
		}
		switch whole := err.Error(); {
		case whole == unusable, whole == notEstablished:
			return &unsentError{err, call.Unreachable, true}
		case whole == wentAway, strings.HasPrefix(whole, wentAwayAtOnce):
			return &unsentError{err, call.Refused, false}
		}
	}
	switch {
	case c.written.Load() != written:
		return nil
	case c.cause() != nil, over:
		return &unsentError{err, call.Unreachable, true}
	default: // the request itself is at fault, such as its body
		return &unsentError{err, call.Rejected, true}
	}
}

// What net/http says of requests over HTTP/2 that no server has looked at. It
// has neither types nor values for them; who reads another text in the future
// takes such a request for one that may have been carried out, which is safe.
const (
	// The connection was closed, or the other side had said GOAWAY before.
	unusable = "http2: client conn not usable"
	// The connection was closed before its first request.
	notEstablished = "http2: client conn could not be established"
	// A GOAWAY came that left the request out.
	wentAway = "http2: Transport received Server's graceful shutdown GOAWAY"
	// The same, with an error, for the first request of a connection.
	wentAwayAtOnce = "http2: Transport received GOAWAY from server ErrCode:"
)

// streamError is what net/http's error about a stream is read into: by its As,
// which wants these fields.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

// Error implements error.
func (e streamError) Error() string { return fmt.Sprintf("stream %d: error %d", e.StreamID, e.Code) }

// refusedStream is REFUSED_STREAM of RFC 9113, section 7.
const refusedStream = 7

// refusals are the alerts about a client's certificate.
var refusals = [...]tls.AlertError{
	42,  // bad_certificate
	43,  // unsupported_certificate
	44,  // certificate_revoked
	45,  // certificate_expired
	46,  // certificate_unknown
	48,  // unknown_ca
	49,  // access_denied
	116, // certificate_required
}

// refusedUs says whether the instance has refused our certificate. Under TLS 1.3
// we learn that only when we read, the request being under way: our part of the
// handshake ends before the server's. But a server looks at no data before its own
// part is done (RFC 8446, section 4.4: there is no early data here, and neither
// renegotiation nor a certificate after the handshake), so it has seen nothing
// of the request.
//
// Where a reset overtakes the alert nothing is proven; nor where HTTP/2 says only
// that its connection could not be established, with an error of its own.
func refusedUs(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" || op.Err == nil { // how crypto/tls tells an alert; its type is its own
		return false
	}
	told := op.Err.Error()
	return slices.ContainsFunc(refusals[:], func(a tls.AlertError) bool { return a.Error() == told })
}
