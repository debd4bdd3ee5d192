package upstream

import (
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/route"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/retry"
)

// Mirror is where copies of a route's calls go. Its instances have a state and
// connections of their own, also where calls go to the same ones: what a mirror
// does to copies concerns no call. It must not be copied.
type Mirror struct {
	*route.Mirror
	// Route is how copies go: once, on their own time.
	Route *Route
	// To is the way to the instances.
	To *Destination

	active *atomic.Int64 // copies under way, over all plans
}

// mirror makes the part of a plan that is about copies. The caller holds the lock.
func (u *Upstream) mirror(plan *Plan, r *route.Mirror) *Mirror {
	leg := r.Way.Legs[0]
	h, _ := u.held(plan, leg.Targets[0], true)
	m := &Mirror{Mirror: r, active: &h.copies}
	m.To = &Destination{
		Leg: leg, tiers: []*cluster.Cluster{h.Cluster}, ways: []*telemetry.Way{u.Telemetry.UnrecordedWay()}, patient: mono.Now(),
	}
	m.Route = newRoute(r.Way, nil)
	m.Route.Destinations = []*Destination{m.To}
	m.Route.Retry = retry.New(retry.Options{Attempts: 1, On: []retry.Condition{}}, nil)
	m.Route.Hedge, m.Route.PerTry, m.Route.Vigil.After = nil, 0, time.Duration(policy.Off)
	m.Route.Total = time.Duration(r.Timeout)
	return m
}

// Enter takes a place among the copies under way, if there is one; Leave gives
// it back.
func (m *Mirror) Enter() bool {
	if m.active.Add(1) > int64(m.Active) {
		m.active.Add(-1)
		return false
	}
	return true
}

// Leave gives back what Enter took.
func (m *Mirror) Leave() { m.active.Add(-1) }
