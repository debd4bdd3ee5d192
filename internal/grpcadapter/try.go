package grpcadapter

import (
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/outbound"
	"github.com/innermesh/innermesh/limit"
)

// try is an attempt as it travels through gRPC: a context in which the
// switchboard finds the attempt, and what gRPC has told about it.
type try struct {
	*outbound.Attempt
	sent, received atomic.Bool
	ratelimited    atomic.Bool
	pushback       atomic.Pointer[string]
	line           *line // that it was put on last
	trace          carrier
	room           [2]string // for what is nearly always all of the trace
}

type tryKey struct{}

// Value implements [context.Context].
func (t *try) Value(key any) any {
	if _, ok := key.(tryKey); ok {
		return t
	}
	return t.Attempt.Value(key)
}

// done is told by gRPC, before the caller learns anything, how far it got.
func (t *try) done(info balancer.DoneInfo) {
	if info.BytesSent {
		t.sent.Store(true)
	}
	if info.BytesReceived {
		t.received.Store(true)
	}
	if len(info.Trailer.Get("x-envoy-ratelimited")) > 0 { // what a limiter says comes without a header
		t.ratelimited.Store(true)
	}
	if v := info.Trailer[loadTrailer]; len(v) == 1 {
		t.Member().Load().Report(mono.Now(), utilization(v[0])) // here, for a stream's comes after it was judged
	}
	if v := info.Trailer.Get("grpc-retry-pushback-ms"); len(v) > 0 {
		t.pushback.Store(&v[0])
	}
	t.line.give()
}

// judge says what an attempt's error tells. If answered is true the error came
// from the instance, or from gRPC about the call itself, and is the caller's as
// it stands; else there was no answer.
func (t *try) judge(err error) (out call.Outcome, answered bool) {
	code := status.Code(err)
	out = call.Outcome{Status: int(code), Sent: call.Answered, Reason: call.ClassifyGRPC(uint32(code))}
	switch {
	case err == nil:
		return out, true
	case t.over(code):
		out.Reason = call.Canceled // the path knows whose time it was
		out.Err = err
		out.Sent = call.SentUnknown
		if !t.sent.Load() {
			out.Sent = call.NotSent
		}
		return out, false
	case t.received.Load():
		t.pushed(&out)
		return out, true
	case errors.Is(err, limit.ErrFull): // limits.connections: no fault of the instance, and another may have a connection
		out.Reason, out.Sent, out.Err = call.Refused, call.NotSent, err
		return out, false
	case code == codes.Unavailable && t.sent.Load():
		out.Reason, out.Sent, out.Err = call.Reset, call.SentUnknown, err
		return out, false
	case code == codes.Unavailable:
		out.Reason, out.Sent, out.Err = call.Unreachable, call.NotSent, err
		return out, false
	default: // gRPC refused it: a message too large, credentials that fail, ...
		out.Reason, out.Sent = call.Rejected, call.NotSent
		return out, true
	}
}

// over says whether the attempt's context has ended, as the code suggests. The
// instance goes by the same deadline as we do and may be heard before our own
// timer, which is due then.
func (t *try) over(code codes.Code) bool {
	if code != codes.DeadlineExceeded && code != codes.Canceled {
		return false
	}
	if at, ok := t.Deadline(); ok && code == codes.DeadlineExceeded && !at.After(time.Now()) {
		<-t.Done()
	}
	return t.Err() != nil
}

// pushed takes in the server's wish about retries, if it has one.
func (t *try) pushed(out *call.Outcome) {
	out.Ratelimited = t.ratelimited.Load()
	if v := t.pushback.Load(); v != nil {
		out.RetryAfter, out.NoRetry = pushback(*v)
	}
}

// pushback reads grpc-retry-pushback-ms (gRFC A6): a number of milliseconds to
// wait, or anything else for "do not".
func pushback(v string) (wait time.Duration, stop bool) {
	ms, err := strconv.ParseInt(v, 10, 32)
	if err != nil || ms < 0 {
		return 0, true
	}
	return time.Duration(ms) * time.Millisecond, false
}
