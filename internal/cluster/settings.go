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

	breaker     breaker.Options
	breakerOff  bool
	ejection    breaker.OutlierOptions
	ejectionOff bool
	picker      balancer.Options
	panicRatio  float64 // negative is no floor
	subset      subsetting
	prefer      string
}

// subsetting says of how many instances at one distance a part is chosen, and
// how large that is; above 0 is never.
type subsetting struct{ above, size int }

func newSettings(p policy.Effective) *Settings {
	s := &Settings{
		Policy:     p,
		panicRatio: float64(p.Balancer.PanicPercent) / 100,
		prefer:     p.Balancer.Prefer,
		picker:     picker(p.Balancer),
		breaker: breaker.Options{
			Failures:    p.Breaker.Failures,
			Ratio:       p.Breaker.FailureRatio,
			MinRequests: p.Breaker.MinRequests,
			Window:      time.Duration(p.Breaker.Window),
			Open:        time.Duration(p.Breaker.Open),
			Probes:      p.Breaker.Probes,
		},
		breakerOff: p.Breaker.Off(),
		ejection: breaker.OutlierOptions{
			Failures:        p.Ejection.Failures,
			FailureRatio:    -1, // the breaker's
			Interval:        time.Duration(p.Ejection.Interval),
			Base:            time.Duration(p.Ejection.Base),
			Max:             time.Duration(p.Ejection.Max),
			MaxEjectedRatio: float64(p.Ejection.MaxPercent) / 100,
			EnforceRatio:    float64(p.Ejection.Enforced) / 100,
			PanicRatio:      float64(p.Balancer.PanicPercent) / 100,
		},
		ejectionOff: p.Ejection.Off(),
	}
	if b := p.Balancer; b.SubsetAbove > 0 && b.Policy != policy.RingHash && b.Policy != policy.Maglev {
		s.subset = subsetting{max(b.SubsetAbove, 2*b.SubsetSize), b.SubsetSize}
	}
	return s
}

// picker names the algorithms as the balancer does. There a plain round robin
// knows no weights; where all are the same the weighted one is just that.
func picker(b policy.Balancer) balancer.Options {
	o := balancer.Options{
		Policy: balancer.Policy(b.Policy), Choices: b.Choices, SlowStart: slowStart,
		RingSize: b.RingSize, MaxRingSize: b.MaxRingSize, Reported: b.Load == policy.LoadReported,
	}
	if b.Policy == policy.RoundRobin {
		o.Policy = balancer.WeightedRoundRobin
	}
	return o
}

// sameBreaker says whether breakers made under both would behave alike.
func (s *Settings) sameBreaker(o *Settings) bool {
	return s.breakerOff == o.breakerOff && (s.breakerOff || s.breaker == o.breaker)
}

// sameEjection says the same of the watch over all instances.
func (s *Settings) sameEjection(o *Settings) bool {
	return s.ejectionOff == o.ejectionOff && (s.ejectionOff || s.ejection == o.ejection)
}
