package outbound_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/outbound"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

// Time is spared for another attempt only where there would be one: else a call
// that is slow now and then would be cut short for nothing.
func TestTimeIsSparedForNothing(t *testing.T) {
	const own = time.Second
	for name, test := range map[string]struct {
		policy policy.Service
		change func(ctx context.Context, x *exchange) context.Context
		own    time.Duration
	}{
		"not after a timeout": {policy.Service{Retry: policy.Retry{On: []string{"refused-stream"}}}, nil, own},
		"to serve a retry": {policy.Service{}, func(ctx context.Context, _ *exchange) context.Context {
			return call.Serving(ctx, call.Inbound{Attempt: 2})
		}, own},
		"nothing in the budget": {policy.Service{Retry: policy.Retry{Budget: policy.Budget{Ratio: 0.001, Floor: -1}}}, nil, own},
		"no time for the pause": {policy.Service{}, nil, 90 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			within(t, test.policy, func(t *testing.T, d *upstream.Directory) {
				answer(t, d, time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), test.own)
				defer cancel()
				x := newExchange(func(a *outbound.Attempt) call.Outcome {
					select {
					case <-time.After(test.own - time.Millisecond):
						return fine
					case <-a.Done():
						return hang(a)
					}
				})
				if test.change != nil {
					ctx = test.change(ctx, x)
				}
				if _, err := do(ctx, d, x); err != nil || x.Attempts != 1 {
					t.Errorf("%d attempts: %v", x.Attempts, err)
				}
			}, "a", "b", "c")
		})
	}
}

// Callers who have little time say nothing about an instance that is slow by
// nature now and then.
func TestSparedTimeIsNotHeldAgainstTheInstance(t *testing.T) {
	within(t, policy.Service{Balancer: policy.Balancer{PanicPercent: -1}}, func(t *testing.T, d *upstream.Directory) {
		answer(t, d, 5*time.Millisecond)
		var all sync.WaitGroup
		for range 2 * policy.Default().Breaker.Failures {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
				defer cancel()
				if _, err := do(ctx, d, newExchange(hang)); err == nil {
					t.Error("answered")
				}
			})
		}
		all.Wait()
		if _, err := do(t.Context(), d, newExchange(always(fine))); err != nil {
			t.Errorf("the instance was taken for one that fails: %v", err)
		}
	}, "a")
}

// answer has all instances known for answers that take so long.
func answer(t *testing.T, d *upstream.Directory, took time.Duration) {
	t.Helper()
	for range 20 {
		x := newExchange(func(*outbound.Attempt) call.Outcome { <-time.After(took); return fine })
		if _, err := do(t.Context(), d, x); err != nil {
			t.Fatal(err)
		}
	}
}
