package outbound

import (
	"errors"

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
