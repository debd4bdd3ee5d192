package httpadapter

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/innermesh/innermesh/call"
)

// headerAttempt and headerLeft are how an attempt tells which it is, and for how
// many milliseconds its answer is waited for; the latter is Envoy's name.
const (
	headerAttempt  = "Innermesh-Attempt"
	headerLeft     = "X-Envoy-Expected-Rq-Timeout-Ms"
	headerPriority = "Innermesh-Priority" // as call.PriorityHeader
)

// Serve has the requests that next serves keep what their callers have told: the
// time that is left is a deadline of the request's context, and the attempt
// stands in [call.InboundFrom]. What can not be read says nothing.
func Serve(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		attempt, left := number(r.Header[headerAttempt]), number(r.Header[headerLeft])
		if attempt == 0 && left == 0 {
			next.ServeHTTP(w, r)
			return
		}
		ctx := r.Context()
		if attempt > 0 {
			ctx = call.Serving(ctx, call.Inbound{Attempt: attempt})
		}
		if left > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Duration(left)*time.Millisecond)
			defer cancel()
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// number reads a header that holds one positive number.
func number(values []string) int {
	if len(values) != 1 {
		return 0
	}
	n, err := strconv.ParseUint(values[0], 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// tell writes on what terms an attempt is made: whether it is one of several,
// and if the policy wants it for how long it is waited for.
func (x *exchange) tell(number int, left time.Duration) {
	if x.Options.Priority != "" {
		x.own()[headerPriority] = []string{x.Options.Priority}
	}
	if number > 1 {
		x.own()[headerAttempt] = []string{strconv.Itoa(number)}
	}
	if left >= 0 {
		ms := max((left+time.Millisecond-1)/time.Millisecond, 1) // zero would mean no end
		x.own()[headerLeft] = []string{strconv.FormatInt(int64(ms), 10)}
	}
}
