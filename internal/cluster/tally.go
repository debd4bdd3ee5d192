package cluster

import (
	"time"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/telemetry"
)

// The limits by their names.
const (
	Concurrency = "concurrency"
	Keyed       = "keyed"
	Connections = "connections"
	Rate        = "rate"
	Adaptive    = "adaptive"
)

// Tally is how many instances there are, by whether they are called and if not
// why, and by the states of their breakers.
type Tally struct {
	Callable, Critical, Ejected, Open, Unused int
	Breakers                                  [breakerStates]int // by breaker.State
}

const breakerStates = breaker.HalfOpen + 1

// Tally counts the instances now.
func (c *Cluster) Tally(now time.Duration) (t Tally) {
	for m, instance := range c.known() {
		if m == nil {
			t.Unused++
			continue
		}
		if guard := m.guard.Load(); guard != nil {
			state, _ := guard.State()
			t.Breakers[state]++
		}
		switch {
		case instance.Health == discovery.Critical || instance.Health == discovery.Warning && c.Target.OnlyPassing:
			t.Critical++
		case m.load.Open(now):
			t.Callable++
		case c.floor.until(m)[byEjection] > now:
			t.Ejected++
		default:
			t.Open++
		}
	}
	return t
}

// Telemetry records what happens to the cluster's instances.
func (c *Cluster) Telemetry() *telemetry.Target { return c.tel }

// Limits tells how the limits stand that have a number of calls.
func (c *Cluster) Limits() (all []telemetry.Limit) {
	l := c.limits.Load()
	for _, g := range []struct {
		name string
		gate gate
	}{{Concurrency, l.requests}, {Connections, l.connections}} {
		switch {
		case g.gate.shut != nil:
			all = append(all, telemetry.Limit{Name: g.name})
		case g.gate.Bulkhead != nil:
			all = append(all, telemetry.Limit{Name: g.name, Max: g.gate.Limit(), Used: g.gate.Inflight(), Queued: g.gate.Waiting()})
		}
	}
	if l.adaptive != nil {
		all = append(all, telemetry.Limit{Name: Adaptive, Max: l.adaptive.Limit(), Used: l.adaptive.Inflight(), Queued: -1})
	}
	return all
}
