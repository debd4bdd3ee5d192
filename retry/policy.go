package retry

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/innermesh/innermesh/call"
)

// Why a call that might have been tried again was not. They stand beside the
// cause in the call's error and are found with [errors.Is].
var (
	// ErrBudget: the destination's retry budget is spent. Too much of the
	// traffic fails for retries to help.
	ErrBudget = errors.New("retry budget spent")
	// ErrNoTime: the wait before the next attempt would outlast the call.
	ErrNoTime = errors.New("no time left for another attempt")
	// ErrUnsafe: the attempt may have been carried out, and the call is not
	// known to be safe to repeat.
	ErrUnsafe = errors.New("not safe to repeat: give the call an Idempotency-Key, or mark it idempotent")
	// ErrNested: the call serves one that is itself a further attempt. Who makes
	// those is the one to try again.
	ErrNested = errors.New("part of a call that is itself tried again")
	// ErrAttempts: all attempts were used.
	ErrAttempts = errors.New("all attempts used")
	// ErrPushback: the instance asked for more patience than there is.
	ErrPushback = errors.New("the instance asked not to be tried again yet")
)

// Policy decides about retries to one destination. It is immutable and safe for
// concurrent use.
type Policy struct {
	o        Options
	on       conditions
	timeouts bool // attempts that run out of time are tried again
	budget   *Budget
}

// New returns a policy that draws on budget.
func New(o Options, budget *Budget) *Policy {
	o = o.withDefaults()
	p := &Policy{o: o, on: newConditions(o.On), budget: budget}
	p.timeouts = p.on&met(call.HTTP, call.Outcome{Reason: call.TryTimeout, Sent: call.SentUnknown}) != 0 // gRPC's are the same
	return p
}

// patience is the longest an instance may make us wait.
const patience = time.Second

// Next says how long to wait before the call is tried again after an attempt
// ended with out. left is how much time the call has, a negative value meaning
// no bound; fresh says that an instance is there which was not tried yet. An
// error says why it is not tried again; nil stands with out when nothing calls
// for another attempt.
//
// What never left is tried again at once if there is another instance, and costs
// nothing of the budget: it has put no load on anybody.
func (p *Policy) Next(c *call.Call, out call.Outcome, left, now time.Duration, fresh bool) (wait time.Duration, again bool, why error) {
	switch {
	case !p.Wants(c, out):
		return 0, false, nil
	case !c.Repeatable(out.Sent):
		return 0, false, ErrUnsafe
	case p.isNested(c) && out.Sent != call.NotSent:
		return 0, false, ErrNested
	case out.NoRetry || out.RetryAfter > patience:
		return 0, false, ErrPushback
	case p.isLast(c) && (!c.WaitForReady || out.Sent != call.NotSent):
		return 0, false, p.exhausted(c)
	}
	if out.Sent != call.NotSent || !fresh {
		wait = max(p.wait(c.Attempts), out.RetryAfter)
	}
	if left >= 0 && wait >= left {
		return 0, false, ErrNoTime
	}
	if out.Sent != call.NotSent && !p.budget.Withdraw(now) {
		return 0, false, ErrBudget
	}
	return wait, true, nil
}

// Ahead says whether another attempt would follow if the one that is about to be
// made ran out of time, as far as can be said before it, and after which pause at
// most.
func (p *Policy) Ahead(c *call.Call, now time.Duration) (pause time.Duration, again bool) {
	if !p.timeouts || !c.Repeatable(call.SentUnknown) || p.isNested(c) || p.isLast(c) ||
		p.budget.Bounded() && p.budget.Left(now) < 1 {
		return 0, false
	}
	pause = p.o.Base
	for range min(c.Attempts-1, 30) {
		pause = min(2*pause, p.o.Max)
	}
	return pause, true
}

// Wants says whether the policy is for trying again after such an outcome, were
// it safe and affordable. An instance that is alive and says when to come back,
// being throttled or busy with this very call, is taken at its word.
func (p *Policy) Wants(c *call.Call, out call.Outcome) bool {
	switch r := out.Reason; {
	case (r == call.Expired || r == call.Canceled || r == call.Rejected) && out.Sent != call.Answered:
		return false // it was our own doing
	case (r == call.Throttled || occupied(c, out)) && out.RetryAfter > 0 && p.on != 0:
		return true
	}
	return p.on&met(c.Protocol, out) != 0 ||
		c.Protocol == call.HTTP && out.Sent == call.Answered && slices.Contains(p.o.Statuses, out.Status)
}

// occupied says whether the instance is busy with this very call: an earlier attempt
// is being carried out, and whoever comes again later is told how it ended.
func occupied(c *call.Call, out call.Outcome) bool {
	if !c.Idempotent || out.Sent != call.Answered {
		return false
	}
	if c.Protocol == call.GRPC {
		return out.Status == 10 // ABORTED
	}
	return out.Status == http.StatusConflict
}

// isNested says whether the call serves one that is itself a further attempt, and
// so is left to those who have made that.
func (p *Policy) isNested(c *call.Call) bool { return c.Serving > 1 && !p.o.Nested }

func (p *Policy) attempts(c *call.Call) int {
	if c.Options.Attempts > 0 {
		return c.Options.Attempts
	}
	return p.o.Attempts
}

// isLast says whether the attempt under way is the last one that c may have.
func (p *Policy) isLast(c *call.Call) bool { return c.Attempts >= p.attempts(c) }

// exhausted is silent when no retry was wanted in the first place.
func (p *Policy) exhausted(c *call.Call) error {
	if p.attempts(c) == 1 {
		return nil
	}
	return ErrAttempts
}

// wait draws the pause after the given number of attempts, with full jitter
// (AWS Architecture Blog, "Exponential Backoff And Jitter"): evenly from zero
// to Base·2ⁿ⁻¹, at most Max.
func (p *Policy) wait(attempts int) time.Duration {
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(p.o.Base/2), // ± all of the half is zero to the whole
		backoff.WithRandomizationFactor(1),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(p.o.Max/2),
		backoff.WithMaxElapsedTime(0),
	)
	wait := b.NextBackOff()
	for range min(attempts-1, 30) {
		wait = b.NextBackOff()
	}
	return wait
}
