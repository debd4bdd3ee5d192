package outbound_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/outbound"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

// Whatever becomes of attempts, hedged or not: a call that is not safe to repeat
// has left once at most, none has more attempts than it may, and retries and hedges
// are never more than the budget has had.
func TestWhatMustNeverHappen(t *testing.T) {
	const (
		calls = 4000
		most  = 4
		ratio = 0.2
		floor = 3
	)
	outcomes := []call.Outcome{
		fine, busy, reset, unreachable,
		{Reason: call.Throttled, Sent: call.Answered, Status: 429, RetryAfter: time.Millisecond},
		{Reason: call.Reset, Sent: call.NotSent, Err: errBroken},
		{Reason: call.Refused, Sent: call.NotSent, Err: errBroken},
		{Reason: call.Gateway, Sent: call.Answered, Status: 502},
		{Reason: call.Unavailable, Sent: call.Answered, Status: 503, NoRetry: true},
	}
	for name, hedge := range map[string]policy.Hedge{"one after the other": {}, "hedged": {After: policy.Duration(5 * time.Millisecond), Attempts: 3}} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			draw := rand.New(rand.NewPCG(seed, 0))
			p := policy.Service{
				Hedge: hedge,
				Retry: policy.Retry{
					Attempts: most, Budget: policy.Budget{Ratio: ratio, Floor: floor},
					Backoff: policy.Backoff{Base: policy.Duration(time.Millisecond), Max: policy.Duration(2 * time.Millisecond)},
				},
				Breaker: policy.Breaker{Failures: -1, FailureRatio: -1},
			}
			within(t, p, func(t *testing.T, d *upstream.Directory) {
				paid, began := 0, time.Now()
				for n := range calls {
					x := &sender{several: newSeveral(nil)}
					x.Idempotent, x.Replayable = draw.IntN(2) == 0, draw.IntN(4) > 0
					x.Options.Attempts = draw.IntN(most + 1)
					results, delays := make([]call.Outcome, most), make([]time.Duration, most)
					for i := range results {
						results[i], delays[i] = outcomes[draw.IntN(len(outcomes))], time.Duration(draw.IntN(20))*time.Millisecond
					}
					x.takes = func(n int) (time.Duration, call.Outcome) { return delays[n-1], results[n-1] }
					x.each = func(a *outbound.Attempt) call.Outcome { _, out := x.send(a); return out }
					_, _ = outbound.Do[int](t.Context(), d, &x.Flight, x)
					x.End(call.Outcome{})
					left, limit := x.left(), most
					if x.Options.Attempts > 0 {
						limit = x.Options.Attempts
					}
					if x.Attempts > limit {
						t.Fatalf("call %d: %d attempts of %d", n, x.Attempts, limit)
					}
					if (!x.Idempotent || !x.Replayable) && left > 1 {
						t.Fatalf("call %d, idempotent %v, replayable %v, has left %d times: %+v", n, x.Idempotent, x.Replayable, left, results)
					}
					paid += max(left-1, 0)
					// The floor of the ten seconds that are counted may be spent at once.
					if had := ratio*float64(n+1) + floor*(time.Since(began).Seconds()+10); float64(paid) > had {
						t.Fatalf("call %d: %d retries and hedges, the budget has had %.0f", n, paid, had)
					}
				}
				if paid < calls/20 {
					t.Errorf("%d of %d calls were repeated: that proves nothing", paid, calls)
				}
			}, "a", "b", "c", "d", "e")
		})
	}
}

// sender counts the attempts that have left.
type sender struct {
	*several
	mu   sync.Mutex
	sent int
}

// Send implements [outbound.Exchange].
func (s *sender) Send(a *outbound.Attempt) (int, call.Outcome) {
	n, out := s.several.Send(a)
	s.count(out)
	return n, out
}

// Prepare implements [outbound.Hedger].
func (s *sender) Prepare(a *outbound.Attempt) func() (int, call.Outcome) {
	send := s.several.Prepare(a)
	return func() (int, call.Outcome) {
		n, out := send()
		s.count(out)
		return n, out
	}
}

func (s *sender) count(out call.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if out.Sent != call.NotSent {
		s.sent++
	}
}

func (s *sender) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}
