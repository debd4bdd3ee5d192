package cluster

import (
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/internal/deadline"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/retry"
)

// Settings are a service's policy in the form the path of a call reads. They
// are immutable; what counts or keeps time in them is safe for concurrent use.
type Settings struct {
	// Policy is what the settings were made from.
	Policy policy.Effective
	// Retry decides about further attempts.
	Retry *retry.Policy
	// Budget is what the retries draw on.
	Budget *retry.Budget
	// Total and PerTry bound a call and an attempt; 0 means no bound.
	Total, PerTry time.Duration
	// Clock keeps the time of attempts.
	Clock deadline.Clock

	breaker    breaker.Options
	breakerOff bool
	picker     balancer.Policy
}

// newSettings makes settings of a policy. What is unchanged since old keeps its
// state: the budget goes on as long as its terms stay the same.
func newSettings(p policy.Effective, old *Settings) *Settings {
	s := &Settings{
		Policy: p,
		Total:  max(time.Duration(p.Timeout.Total), 0),
		PerTry: max(time.Duration(p.Timeout.PerTry), 0),
		picker: balancer.Policy(p.Balancer.Policy),
		breaker: breaker.Options{
			Failures:    p.Breaker.Failures,
			Ratio:       p.Breaker.FailureRatio,
			MinRequests: p.Breaker.MinRequests,
			Window:      time.Duration(p.Breaker.Window),
			Open:        time.Duration(p.Breaker.Open),
			Probes:      p.Breaker.Probes,
		},
		breakerOff: p.Breaker.Off(),
	}
	options := retry.Options{
		Attempts: p.Retry.Attempts,
		Base:     time.Duration(p.Retry.Backoff.Base),
		Max:      time.Duration(p.Retry.Backoff.Max),
		Budget:   retry.BudgetOptions{Ratio: p.Retry.Budget.Ratio, Floor: p.Retry.Budget.Floor},
	}
	if options.Base < 0 { // off: no wait worth the name
		options.Base, options.Max = 1, 1
	}
	if old != nil && old.Policy.Retry.Budget == p.Retry.Budget {
		s.Budget = old.Budget
	} else {
		s.Budget = retry.NewBudget(options.Budget)
	}
	s.Retry = retry.New(options, s.Budget)
	return s
}

// sameBreaker says whether breakers made under both would behave alike.
func (s *Settings) sameBreaker(o *Settings) bool {
	return s.breakerOff == o.breakerOff && (s.breakerOff || s.breaker == o.breaker)
}
