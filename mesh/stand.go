package mesh

import (
	"time"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/telemetry"
)

// stand tells what the mesh stands at, each time metrics are collected.
func (m *Mesh) stand(s telemetry.State) {
	now := mono.Now()
	var unheard time.Duration
	for _, u := range m.directory.All() {
		s.Inflight(u.Service, u.Inflight())
		if plan := u.Plan(); plan != nil {
			s.ConfigAge(u.Service, (now - plan.Since).Seconds())
			if left, bounded := plan.Budget(now); bounded {
				s.Budget(u.Service, left)
			}
		}
		for _, c := range u.Clusters() {
			if c.IsMirror() {
				continue
			}
			unheard = max(unheard, c.Silent(now))
			s.Connections(c.Telemetry(), c.Quota().Open(), c.Quota().Idle())
			t := c.Tally(now)
			tally(s, c.Telemetry(), &t)
			for _, l := range c.Limits() {
				s.Limit(c.Telemetry(), l)
			}
		}
	}
	s.ConfigRefused(m.policies.refusedNow())
	s.ConfigSilence("instances", unheard.Seconds())
	if len(m.policies.sources) > 0 {
		s.ConfigSilence("policies", m.policies.silence.longest(now).Seconds())
	}
}

func tally(s telemetry.State, of *telemetry.Target, t *cluster.Tally) {
	for state, n := range map[string]int{
		"callable": t.Callable, "critical": t.Critical, "ejected": t.Ejected, "open": t.Open, "unused": t.Unused,
	} {
		s.Instances(of, state, n)
	}
	for state, n := range t.Breakers {
		s.Breakers(of, breaker.State(state).String(), n)
	}
}
