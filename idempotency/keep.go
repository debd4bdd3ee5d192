package idempotency

import (
	"net/http"

	"github.com/innermesh/innermesh/call"
)

// The gRPC codes that the default rule knows, by their wire numbers: this room
// does not import gRPC.
const (
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcAborted           = 10
	grpcUnimplemented     = 12
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// Keep is the default rule of which outcomes are kept: all, errors included, but
// those that say that nothing was done. Over HTTP these are 401, 403, 405, 408,
// 421, 425, 429, 501 and 503; over gRPC PERMISSION_DENIED, RESOURCE_EXHAUSTED,
// ABORTED, UNIMPLEMENTED, UNAVAILABLE and UNAUTHENTICATED.
//
// A 500 is kept, since the operation may have had its effect before it failed.
// If operations are transactions that leave nothing behind when they fail, let
// Options.Keep say so.
func Keep(p call.Protocol, status int) bool {
	if p == call.GRPC {
		switch status {
		case grpcPermissionDenied, grpcResourceExhausted, grpcAborted, grpcUnimplemented, grpcUnavailable, grpcUnauthenticated:
			return false
		default:
			return true
		}
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusRequestTimeout,
		http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusNotImplemented, http.StatusServiceUnavailable:
		return false
	default:
		return true
	}
}
