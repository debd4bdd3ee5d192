package call

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Error is how a call that got no answer ends, over HTTP and gRPC alike. Find
// it with errors.AsType[*call.Error](err); the sentinel of the room that
// decided is reachable with [errors.Is].
//
// It behaves as a [net.Error]: Timeout is true when time ran out.
type Error struct {
	// Service is the logical name that was called.
	Service string
	// Method is the HTTP method or the full gRPC method.
	Method string
	// Instance is the ID of the instance tried last, empty if none was.
	Instance string
	// Attempts is how many tries were begun.
	Attempts int
	// Reason classifies the last attempt.
	Reason Reason
	// Sent says how far the last attempt got.
	Sent Sent
	// Tries tells of the attempts that have failed, oldest first: of many, the
	// first and the latest, [MaxTries] in all.
	Tries []Try
	// Err is the cause.
	Err error
}

// Error says which call failed, where, how often it was tried and why.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "innermesh: %s %s: ", e.Service, e.Method)
	if e.Attempts > 0 {
		fmt.Fprintf(&b, "%s after %d attempt", e.Reason, e.Attempts)
		if e.Attempts > 1 {
			b.WriteByte('s')
		}
		fmt.Fprintf(&b, " (last on %s, %s): ", e.Instance, e.Sent)
	}
	if e.Err == nil {
		b.WriteString("no cause given")
	} else {
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout says whether the call ended because time ran out.
func (e *Error) Timeout() bool {
	return e.Reason == TryTimeout || e.Reason == Expired || errors.Is(e.Err, context.DeadlineExceeded)
}

// Temporary says whether the same call may succeed a little later.
func (e *Error) Temporary() bool { return e.Timeout() || e.Reason.Passing() }
