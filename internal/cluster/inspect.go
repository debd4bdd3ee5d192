package cluster

import (
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/internal/mono"
)

// Inspection is one instance with all that bears on whether it is picked.
type Inspection struct {
	InstanceStatus
	// Called says that the instance is among those that this process calls.
	Called bool
	// Distance is how far away it is, see [balancer.SameZone].
	Distance int
	// Expected is how long the balancer expects an answer to take, 0 if nothing is
	// known.
	Expected time.Duration
	// Guarded says that there is a breaker. Since is when it came to its state,
	// Probe when it lets a first probe in, Judged and Wrong what it has in its
	// window of Window.
	Guarded       bool
	Since, Probe  time.Time
	Judged, Wrong int
	Window        time.Duration
	// Ejected tells of the last ejection; its Until may be over.
	Ejected EjectionStatus
	// WarmSince and WarmUntil are the slow start, zero if there is none.
	WarmSince, WarmUntil time.Time
	// Spared says that it is called although it should not be, since too few
	// others are left.
	Spared bool
}

// EjectionStatus is an ejection on the clock of people.
type EjectionStatus struct {
	Cause     breaker.Cause
	At, Until time.Time
	Times     int
}

// Inspect describes all instances that discovery knows, by ID.
func (c *Cluster) Inspect() []Inspection {
	now, clock := mono.Now(), time.Now()
	at := func(m time.Duration) time.Time {
		if m == 0 {
			return time.Time{}
		}
		return clock.Add(m - now)
	}
	view := c.View()
	from := c.placeNow()
	var all []Inspection
	for m, instance := range c.known() {
		i := Inspection{InstanceStatus: c.instanceStatus(m, instance, now)}
		if from != (balancer.Place{}) {
			i.Distance = from.Distance(placeOf(&instance))
		}
		if m != nil {
			i.Called, i.Expected, i.Spared = true, m.load.Latency(now), m.spared.Load()
			if g := m.guard.Load(); g != nil {
				r := g.Refusal()
				i.Guarded, i.Since, i.Window = true, r.Since, view.breaker.Window
				if r.State == breaker.Open {
					i.Probe = r.Probe
				}
				i.Judged, i.Wrong = g.Counts()
			}
			if e := m.ejection.Load(); e != nil {
				i.Ejected = *e
			}
			if warm := c.floor.warmth(m); warm.until > now && warm.since <= now {
				i.WarmSince, i.WarmUntil = at(warm.since), at(warm.until)
			}
		}
		all = append(all, i)
	}
	return all
}

// Forgive puts an instance back into rotation by hand: its breaker and what it
// was ejected for begin anew. It says whether there is such an instance.
func (c *Cluster) Forgive(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.roster.called() {
		if m.ID != id {
			continue
		}
		now := mono.Now()
		c.arm(m, c.View().Settings)
		if w := m.watched.Swap(nil); w != nil {
			c.outliers.Forget(now, w)
		}
		c.floor.pardon(now, m)
		m.ejection.Store(nil)
		c.watch(m)
		c.log.Info("instance put back into rotation by hand", "instance", id)
		return true
	}
	return false
}

// placeNow is where this process is, as far as that counts.
func (c *Cluster) placeNow() balancer.Place {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.place(c.View().Settings)
}
