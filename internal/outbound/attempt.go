package outbound

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/deadline"
	"github.com/innermesh/innermesh/internal/route"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/limit"
)

// Attempt is one try of a call on one instance. It is the context of that try:
// it carries the attempt's span and ends with the attempt's time, and once the
// call was answered, with the answer.
type Attempt struct {
	deadline.Context
	// Try has its number, 1 for the first attempt of a call, and why it is made.
	telemetry.Try

	pick     cluster.Pick
	began    time.Duration
	until    time.Duration
	way      *telemetry.Way
	span     telemetry.Span
	stalled  atomic.Bool
	trouble  *route.Trouble // made on purpose
	spares   bool           // it ends early, for the caller has little time
	judged   bool
	noted    bool
	released bool
}

// Member is the instance the attempt goes to.
func (a *Attempt) Member() *cluster.Member { return a.pick.Member }

func (a *Attempt) begin(ctx context.Context, now, until time.Duration, span telemetry.Span) {
	a.began, a.until, a.span = now, until, span
	a.Start(ctx, until)
}

// Stall ends an attempt whose answer was silent for too long.
func (a *Attempt) Stall() {
	a.stalled.Store(true)
	a.Cancel()
}

// judge tells the member how the attempt went. It is called once.
func (a *Attempt) judge(f *Flight, out call.Outcome, now time.Duration) {
	a.judged = true
	told := out
	switch {
	case a.trouble != nil, out.Err != nil && errors.Is(out.Err, limit.ErrFull): // the instance is not to blame, nor to praise
		told = call.Outcome{Reason: call.Rejected}
	case a.spares && out.Reason == call.TryTimeout: // it was short by the caller's word, as if all of it were over
		told.Reason = call.Expired
	}
	if a.span.IsRecording() {
		a.record(f, out, func() { a.pick.Judge(now, now-a.began, told) })
	} else {
		a.pick.Judge(now, now-a.began, told)
	}
	a.way.Attempted(a, f.Protocol, a.Kind, out.Reason)
}

// record tells the span how the attempt went, and what came of it.
func (a *Attempt) record(f *Flight, out call.Outcome, judge func()) {
	trips, ejections := a.pick.Trouble()
	judge()
	t, e := a.pick.Trouble()
	if t != trips {
		a.span.BreakerOpened(a.Instance)
	}
	if e != ejections {
		a.span.Ejected(a.Instance)
	}
	a.span.Judged(&f.Call, &a.Try, out)
}

// release gives back, once, what the attempt has taken.
func (a *Attempt) release() {
	if a.released {
		return
	}
	a.released = true
	a.Cancel()
	a.pick.Release()
	if a.trouble != nil {
		a.trouble.End()
	}
	a.span.End()
}
