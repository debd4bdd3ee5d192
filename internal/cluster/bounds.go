package cluster

import (
	"time"

	"github.com/innermesh/innermesh/internal/telemetry"
)

// Bound is one limit of what goes to the instances of a target, for people.
type Bound struct {
	telemetry.Limit
	// PerSecond is how many calls may begin in a second, 0 where that is not what
	// is limited.
	PerSecond float64
	// Unloaded is how long answers take without load, as far as an adaptive limit
	// has measured; Measuring says that it does so just now.
	Unloaded  time.Duration
	Measuring bool
}

// Bounds describes the limits that are in force.
func (c *Cluster) Bounds() []Bound {
	l := c.limits.Load()
	var all []Bound
	for _, one := range c.Limits() {
		b := Bound{Limit: one}
		if one.Name == Adaptive && l.adaptive != nil {
			b.Unloaded, b.Measuring = l.adaptive.Baseline()
		}
		all = append(all, b)
	}
	if l.rate != nil || l.rates != nil {
		name := Rate
		if l.rates != nil {
			name = Keyed + " " + Rate
		}
		all = append(all, Bound{Limit: telemetry.Limit{Name: name, Queued: -1}, PerSecond: l.terms.perSecond})
	}
	return all
}
