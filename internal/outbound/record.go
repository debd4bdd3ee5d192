package outbound

import (
	"errors"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/retry"
)

// way is where the call has gone, as far as it came.
func (f *Flight) way() *telemetry.Way {
	switch {
	case f.attempt != nil:
		return f.attempt.way
	case f.to != nil:
		return f.to.Way(nil)
	default:
		return f.upstream.Telemetry.Lost()
	}
}

// logged is what the access log wants to know of a call.
type logged struct {
	path     string
	status   int
	reason   call.Reason
	answered time.Duration
}

// tell tells the access log that the call has ended, after its answer has ended
// so.
func (f *Flight) tell(out call.Outcome) {
	if f.log == nil {
		return
	}
	if out.Err != nil {
		f.log.reason = out.Reason
	}
	f.way().Log(f.ctx, &f.Call, telemetry.Ended{
		Path: f.log.path, Status: f.log.status, Reason: f.log.reason, Answered: f.log.answered, Took: mono.Now() - f.began,
	})
}

// refusal names why there is no other attempt.
func refusal(why error) telemetry.Refusal {
	for i, known := range []error{
		telemetry.RefusedBudget: retry.ErrBudget, telemetry.RefusedTime: retry.ErrNoTime, telemetry.RefusedUnsafe: retry.ErrUnsafe,
		telemetry.RefusedNested: retry.ErrNested, telemetry.RefusedAttempts: retry.ErrAttempts,
	} {
		if errors.Is(why, known) {
			return telemetry.Refusal(i)
		}
	}
	return telemetry.RefusedPushback
}
