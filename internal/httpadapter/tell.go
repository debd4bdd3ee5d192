package httpadapter

import (
	"strconv"
	"time"
)

// headerAttempt and headerLeft are how an attempt tells which it is, and for how
// many milliseconds its answer is waited for; the latter is Envoy's name.
const (
	headerAttempt   = "Innermesh-Attempt"              // as call.AttemptHeader
	headerLeft      = "X-Envoy-Expected-Rq-Timeout-Ms" // as inbound.LeftHeader
	headerPriority  = "Innermesh-Priority"             // as call.PriorityHeader
	headerRequestID = "X-Request-Id"                   // as call.RequestIDHeader
)

// tell writes on what terms an attempt is made: whether it is one of several, or
// of a copy, and if the policy wants it for how long it is waited for.
func (x *exchange) tell(number int, left time.Duration) {
	if x.Options.Priority != "" {
		x.own()[headerPriority] = []string{x.Options.Priority}
	}
	if x.RequestID != "" {
		x.own()[headerRequestID] = []string{x.RequestID}
	}
	if x.Mirrored {
		x.own()[headerMirrored] = []string{"1"}
	}
	if number > 1 {
		x.own()[headerAttempt] = []string{strconv.Itoa(number)}
	}
	if left >= 0 {
		ms := max((left+time.Millisecond-1)/time.Millisecond, 1) // zero would mean no end
		x.own()[headerLeft] = []string{strconv.FormatInt(int64(ms), 10)}
	}
}
