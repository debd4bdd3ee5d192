package cluster

import (
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/policy"
)

// Settings are the policy for a set of instances in the form that picks read.
// They are immutable.
type Settings struct {
	// Policy is what the settings were made from.
	Policy policy.Effective

	breaker    breaker.Options
	breakerOff bool
	picker     balancer.Policy
}

func newSettings(p policy.Effective) *Settings {
	return &Settings{
		Policy: p,
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
}

// sameBreaker says whether breakers made under both would behave alike.
func (s *Settings) sameBreaker(o *Settings) bool {
	return s.breakerOff == o.breakerOff && (s.breakerOff || s.breaker == o.breaker)
}
