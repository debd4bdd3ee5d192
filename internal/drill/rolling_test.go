package drill

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

// Services are restarted instance by instance, each by SIGTERM, under a steady
// load of all kinds: nothing fails, what is unsafe neither, and no stream is cut.
func TestRollingRestart(t *testing.T) {
	for _, c := range []struct {
		name                string
		services, instances int
		secure              bool
		rounds, roundsLong  int
		pace                float64
	}{
		{"3 services of 5, mTLS", 3, 5, true, 1, 5, 12},
		{"10 instances", 1, 10, false, 1, 3, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			long(t)
			rounds := c.rounds
			if longForm() {
				rounds = c.roundsLong
			}
			// All processes are on one machine here, and an agent takes 200 connections
			// from one address.
			s := newStage(t, consultest.Start(t, consultest.Options{Config: "limits { http_max_conns_per_client = 4000 }"}))
			var services []string
			members := map[string]string{} // ID to service
			for i := range c.services {
				services = append(services, fmt.Sprintf("%s-%d", s.service, i))
				for j := range c.instances {
					members[fmt.Sprintf("%d-%d", i, j)] = services[i]
				}
			}
			alive := enlist(t, s.agent.HTTPAddr, c.secure, members)
			s.joinWith(mesh.TLSOptions{Consul: c.secure})
			s.loads = nil
			for _, service := range services {
				loads, err := memberLoads(s.mesh, service, c.pace)
				if err != nil {
					t.Fatal(err)
				}
				s.loads = append(s.loads, loads...)
			}
			for _, l := range s.loads {
				l.once()
			}
			for _, l := range s.loads {
				l.begin(t)
			}
			var slowest time.Duration
			restarted := 0
			for range rounds {
				for j := range c.instances {
					var old []*child
					next := map[string]string{}
					for i := range c.services {
						id := fmt.Sprintf("%d-%d", i, j)
						old, next[id] = append(old, alive[id]), members[id]
					}
					slowest = max(slowest, terminate(t, old...))
					for id, c := range enlist(t, s.agent.HTTPAddr, c.secure, next) {
						alive[id] = c
						restarted++
					}
				}
			}
			for _, service := range services {
				s.await(10*time.Second, "all are there", func() bool {
					all, _, err := s.consul.Health().Service(service, "", true, nil)
					return err == nil && len(all) == c.instances
				})
			}
			s.finish(fmt.Sprintf("%d restarts by SIGTERM: no call fails, no stream is cut", restarted))
			show(t, "who leaves is gone within 15 s", "%v at most", slowest.Round(time.Millisecond))
			if slowest > 15*time.Second {
				t.Errorf("a member took %v to leave", slowest)
			}
			for _, l := range s.loads {
				calls := 0
				for _, n := range l.answers {
					calls += n
				}
				if n := len(l.answers); n < c.instances && calls >= 50*c.instances { // of fewer calls, chance may leave one out
					t.Errorf("%s: only %d members have answered", l.name, n)
				}
			}
			terminate(t, slices.Collect(maps.Values(alive))...)
		})
	}
}
