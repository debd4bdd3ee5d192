package call

import "time"

// Sent says how far an attempt got. It decides what may be tried again.
type Sent uint8

const (
	// NotSent: no byte of the call reached the instance, or the instance has
	// said that it did not look at it. Any call may be tried again.
	NotSent Sent = iota
	// SentUnknown: the call may have been carried out; nobody knows.
	SentUnknown
	// Answered: the instance answered, be it with an error.
	Answered
)

// String returns the words used in errors and logs.
func (s Sent) String() string {
	switch s {
	case NotSent:
		return "not sent"
	case SentUnknown:
		return "sent, result unknown"
	case Answered:
		return "answered"
	default:
		return "invalid"
	}
}

// Reason is the one classification of how an attempt ended. Balancer, breaker,
// retry and metrics all read it and nothing else, so that they can not disagree.
type Reason uint8

// The reasons, in the order of the outcome table in docs/failures.md.
const (
	// OK: answered, and not the instance's fault whatever the answer was
	// (1xx-3xx and most 4xx; gRPC OK and codes that blame the caller).
	OK Reason = iota
	// Throttled: 429, RESOURCE_EXHAUSTED. Alive, but asked for less.
	Throttled
	// Unavailable: 503, UNAVAILABLE, answered by the instance itself.
	Unavailable
	// Gateway: 502 or 504, answered by something in front of the instance.
	Gateway
	// Faulty: any other 5xx; INTERNAL, UNKNOWN, DATA_LOSS.
	Faulty
	// Unreachable: the connection or the TLS handshake failed.
	Unreachable
	// Refused: REFUSED_STREAM, or a GOAWAY that left the call out.
	Refused
	// Reset: the connection broke after the call had begun to leave.
	Reset
	// TryTimeout: the attempt's own time ran out.
	TryTimeout
	// Expired: the call's time ran out, by its policy or its caller's deadline.
	Expired
	// Canceled: the caller went away.
	Canceled
	// Rejected: the library decided locally (no instance, open breaker, bad
	// request body); no instance was asked.
	Rejected

	reasons
)

var reasonNames = [reasons]string{
	"ok", "throttled", "unavailable", "gateway", "faulty", "unreachable", "refused", "reset",
	"try_timeout", "expired", "canceled", "rejected",
}

// String returns the word used in metrics, spans and logs.
func (r Reason) String() string {
	if r >= reasons {
		return "invalid"
	}
	return reasonNames[r]
}

// Reasons returns all reasons, to prepare one series for each.
func Reasons() []Reason {
	all := make([]Reason, reasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// Failed says whether the outcome counts against the instance that was asked.
func (r Reason) Failed() bool {
	switch r {
	case Unavailable, Gateway, Faulty, Unreachable, Reset, TryTimeout:
		return true
	default:
		return false
	}
}

// Neutral says that the outcome tells nothing about the instance: breakers
// count it neither as success nor as failure.
func (r Reason) Neutral() bool {
	switch r {
	case Throttled, Refused, Expired, Canceled, Rejected:
		return true
	default:
		return false
	}
}

// Passing says whether the trouble is of the kind that another attempt, on
// another instance, may well not have. It says nothing about safety: see
// [Call.Repeatable].
func (r Reason) Passing() bool {
	switch r {
	case Unavailable, Gateway, Unreachable, Refused, Reset, TryTimeout:
		return true
	default:
		return false
	}
}

// Outcome is how one attempt ended.
type Outcome struct {
	Reason Reason
	Sent   Sent
	// Status is the HTTP status or the gRPC code of an answer, else 0.
	Status int
	// Err is set when there is no answer to hand to the caller.
	Err error
	// RetryAfter is how long the instance asked to be left alone, 0 if it did
	// not say.
	RetryAfter time.Duration
	// Utilization is how much of what it can carry the instance says it carries,
	// 1 being all; 0 if it does not say, or gRPC's trailer says it.
	Utilization float64
	// Ratelimited says that a rate limiter in front of the instance answered.
	Ratelimited bool
	// NoRetry says that the instance asked not to be tried again.
	NoRetry bool
}

// ClassifyHTTP says what an HTTP status tells about the instance.
func ClassifyHTTP(status int) Reason {
	switch {
	case status < 500 && status != 429:
		return OK
	case status == 429:
		return Throttled
	case status == 503:
		return Unavailable
	case status == 502, status == 504:
		return Gateway
	default:
		return Faulty
	}
}

// The gRPC codes the classifier knows, by their wire numbers: this room does
// not import gRPC.
const (
	grpcCanceled          = 1
	grpcUnknown           = 2
	grpcDeadlineExceeded  = 4
	grpcResourceExhausted = 8
	grpcInternal          = 13
	grpcUnavailable       = 14
	grpcDataLoss          = 15
)

// ClassifyGRPC says what the code of an answer that came from the instance
// tells about it.
func ClassifyGRPC(code uint32) Reason {
	switch code {
	case grpcResourceExhausted:
		return Throttled
	case grpcUnavailable:
		return Unavailable
	case grpcUnknown, grpcInternal, grpcDataLoss:
		return Faulty
	case grpcDeadlineExceeded:
		return Expired
	case grpcCanceled:
		return Canceled
	default:
		return OK
	}
}
