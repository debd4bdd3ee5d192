package inbound

import (
	"errors"
	"net/http"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/limit"
)

// Reason says why a call was turned away.
type Reason string

// The reasons there are.
const (
	// Overload: the program can not carry more.
	Overload Reason = "overload"
	// Full: too many calls are under way, in all or of the caller's.
	Full Reason = "full"
	// TooFast: calls come too fast, in all or from the caller.
	TooFast Reason = "rate"
	// TooLate: the caller will be gone before there could be an answer.
	TooLate Reason = "too_late"
	// Unauthenticated: it is not known who calls, and has to be.
	Unauthenticated Reason = "unauthenticated"
	// Denied: the caller may not do that.
	Denied Reason = "denied"
	// Leaving: the program is about to end.
	Leaving Reason = "leaving"
)

// Reasons returns all reasons, to prepare one series for each.
func Reasons() []Reason {
	return []Reason{Overload, Full, TooFast, TooLate, Unauthenticated, Denied, Leaving}
}

// RefusedError is why a call was turned away before its handler saw it.
type RefusedError struct {
	// Reason is what the caller is told.
	Reason Reason
	// RetryAfter is how long the caller should stay away, 0 if coming again does
	// not help or need not wait.
	RetryAfter time.Duration
	// Err is the cause, for logs and the audit. The caller is not told.
	Err error
}

// Error tells why, with the cause.
func (e *RefusedError) Error() string {
	if e.Err == nil {
		return e.Message()
	}
	return e.Message() + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// The gRPC codes of refusals, by their wire numbers: this room does not import
// gRPC.
const (
	grpcDeadlineExceeded  = 4
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// refusals are what callers are told.
var refusals = map[Reason]struct {
	status  int
	code    uint32
	message string
}{
	Overload:        {http.StatusServiceUnavailable, grpcResourceExhausted, "the service is overloaded; try again later"},
	Full:            {http.StatusServiceUnavailable, grpcResourceExhausted, "too many calls are under way; try again later"},
	TooFast:         {http.StatusTooManyRequests, grpcResourceExhausted, "calls come too fast; try again later"},
	TooLate:         {http.StatusGatewayTimeout, grpcDeadlineExceeded, "there is not time enough for an answer; give the call more"},
	Unauthenticated: {http.StatusUnauthorized, grpcUnauthenticated, "it is not known who calls; say so"},
	Denied:          {http.StatusForbidden, grpcPermissionDenied, "the call is not allowed"},
	Leaving:         {http.StatusServiceUnavailable, grpcUnavailable, "the instance is about to end; try another"},
}

// Status is the HTTP status that the caller gets.
func (e *RefusedError) Status() int { return refusals[e.Reason].status }

// Code is the gRPC code that the caller gets, by its wire number.
func (e *RefusedError) Code() uint32 { return refusals[e.Reason].code }

// Message is what the caller is told. It gives away no names and no numbers.
func (e *RefusedError) Message() string { return "innermesh: " + refusals[e.Reason].message }

// Pushback says that the program is well and asks for less: callers should not
// take it for broken.
func (e *RefusedError) Pushback() bool {
	return e.Reason == Overload || e.Reason == Full || e.Reason == TooFast
}

// ending is how a call ends that is turned away.
func (e *RefusedError) ending(p call.Protocol) Ending {
	end := Ending{Status: e.Status(), Reason: call.ClassifyHTTP(e.Status()), Refused: e}
	if p == call.GRPC {
		end.Status, end.Reason = int(e.Code()), call.ClassifyGRPC(e.Code())
	}
	if e.Pushback() {
		end.Reason = call.Throttled
	}
	return end
}

// refused makes an error of a limit, or of anything else with the reason given.
func refused(err error, otherwise Reason) *RefusedError {
	if e, ok := errors.AsType[*RefusedError](err); ok {
		return e
	}
	e := &RefusedError{Reason: otherwise, Err: err}
	switch {
	case errors.Is(err, limit.ErrOverloaded):
		e.Reason, e.RetryAfter = Overload, pause
	case errors.Is(err, limit.ErrFull):
		e.Reason, e.RetryAfter = Full, pause
	case errors.Is(err, limit.ErrRate):
		e.Reason = TooFast
		if r, ok := errors.AsType[*limit.RateError](err); ok {
			e.RetryAfter = r.RetryAfter
		}
	}
	return e
}

// pause is how long callers stay away from who can not carry more: long enough
// for a limit to move, short enough for most calls to come again in time.
const pause = 100 * time.Millisecond
