package retry

import (
	"fmt"
	"slices"

	"github.com/innermesh/innermesh/call"
)

// Condition names a kind of outcome that is tried again. The names and their
// meaning are Envoy's (x-envoy-retry-on, x-envoy-retry-grpc-on), and so Consul's.
type Condition string

// The conditions. Those of gRPC look at the status of an answer without a
// message.
const (
	On5xx               Condition = "5xx"                // any 5xx, or no answer at all
	OnGatewayError      Condition = "gateway-error"      // 502, 503, 504
	OnReset             Condition = "reset"              // no answer at all: reset, no connection, the attempt's time over
	OnConnectFailure    Condition = "connect-failure"    // no connection, TLS included
	OnRefusedStream     Condition = "refused-stream"     // HTTP/2 REFUSED_STREAM
	OnRetriable4xx      Condition = "retriable-4xx"      // 409
	OnRatelimited       Condition = "envoy-ratelimited"  // the header x-envoy-ratelimited is there
	OnCancelled         Condition = "cancelled"          // gRPC code 1
	OnDeadlineExceeded  Condition = "deadline-exceeded"  // gRPC code 4
	OnResourceExhausted Condition = "resource-exhausted" // gRPC code 8
	OnInternal          Condition = "internal"           // gRPC code 13
	OnUnavailable       Condition = "unavailable"        // gRPC code 14
)

// Conditions returns all of them.
func Conditions() []Condition {
	return []Condition{
		On5xx, OnGatewayError, OnReset, OnConnectFailure, OnRefusedStream, OnRetriable4xx, OnRatelimited,
		OnCancelled, OnDeadlineExceeded, OnResourceExhausted, OnInternal, OnUnavailable,
	}
}

// DefaultConditions are trouble of the kind that another attempt, on another
// instance, may well not have.
func DefaultConditions() []Condition {
	return []Condition{OnGatewayError, OnReset, OnConnectFailure, OnRefusedStream, OnUnavailable}
}

// conditions is a set of them: a bit each, in the order of Conditions.
type conditions uint16

func newConditions(list []Condition) (set conditions) {
	for i, c := range Conditions() {
		if slices.Contains(list, c) {
			set |= 1 << i
		}
	}
	return set
}

// met are the conditions that an outcome meets.
func met(p call.Protocol, out call.Outcome) (set conditions) {
	add := func(list ...Condition) { set |= newConditions(list) }
	switch out.Reason {
	case call.Unreachable:
		add(On5xx, OnReset, OnConnectFailure)
	case call.Refused:
		add(On5xx, OnReset, OnRefusedStream)
	case call.Reset, call.TryTimeout:
		add(On5xx, OnReset)
	default: // there is an answer, or nobody was asked
	}
	if out.Sent != call.Answered {
		return set
	}
	if out.Ratelimited {
		add(OnRatelimited)
	}
	if p == call.GRPC {
		switch out.Status {
		case 1:
			add(OnCancelled)
		case 4:
			add(OnDeadlineExceeded)
		case 8:
			add(OnResourceExhausted)
		case 13:
			add(OnInternal)
		case 14:
			add(OnUnavailable)
		}
		return set
	}
	switch {
	case out.Status >= 502 && out.Status <= 504:
		add(On5xx, OnGatewayError)
	case out.Status >= 500:
		add(On5xx)
	case out.Status == 409:
		add(OnRetriable4xx)
	}
	return set
}

func validateConditions(list []Condition) error {
	for _, c := range list {
		if !slices.Contains(Conditions(), c) {
			return fmt.Errorf("On has %q: want some of %q", c, Conditions()) //nolint:staticcheck // begins with a field's name
		}
	}
	return nil
}
