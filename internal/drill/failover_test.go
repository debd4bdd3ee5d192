package drill

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consultest"
)

// All instances of a subset die, then all of the one that takes over: calls go
// to another subset, then to another service, and back when the first are there
// again. No call fails.
func TestFailover(t *testing.T) {
	long(t)
	s := newStage(t, consultest.Start(t, consultest.Options{}))
	other := s.service + "-other"
	s.speak(s.service)
	s.speak(other)
	s.write(func(name string) []api.ConfigEntry {
		backup := other
		if name != s.service {
			backup += "-grpc"
		}
		return []api.ConfigEntry{&api.ServiceResolverConfigEntry{
			Kind: api.ServiceResolver, Name: name, DefaultSubset: "v1", Subsets: subsets("v1", "v2"),
			Failover: map[string]api.ServiceResolverFailover{"v1": {
				Targets: []api.ServiceResolverFailoverTarget{{ServiceSubset: "v2"}, {Service: backup}},
			}},
		}}
	})
	first := s.play("v1-a", "v1-b", "v1-c") // more than a call has attempts to spare
	second := []*child{begin(t, s, "v2-a"), begin(t, s, "v2-b")}
	beginOf(t, s, other, "other-a")
	s.await(10*time.Second, "all are known", func() bool { return s.healthy("v2") == 4 && s.healthy("other") == 2 })
	s.only("v1")

	kill(slices.Collect(maps.Values(first))...)
	s.only("v2")
	// Who is known to be gone is not tried again now and then, at the cost of an
	// attempt: calls have three.
	s.await(20*time.Second, "Consul knows that v1 is gone", func() bool { return s.healthy("v1") == 0 })
	kill(second...)
	s.only("other")

	begin(t, s, "v1-a")
	begin(t, s, "v1-b")
	begin(t, s, "v1-c")
	s.await(5*time.Second, "v1 takes its calls again", func() bool { return s.sharesAll("v1") })
	s.only("v1")
	s.finish("calls go elsewhere and come back, none fails")
}

// only checks that calls are answered by one version alone, from now on.
func (s *stage) only(v string) {
	s.t.Helper()
	for i, by := range s.draw(200) {
		if len(by) != 1 || by[v] == 0 {
			s.t.Errorf("%s: calls should go to %s, and went to %v", s.loads[i].name, v, by)
		}
	}
}

// sharesAll says whether all calls of both protocols go to one target now.
func (s *stage) sharesAll(target string) bool {
	for name := range protocols(s.service) {
		if !maps.Equal(withoutNone(s.shares(name)), map[string]float64{target: 1}) {
			return false
		}
	}
	return true
}

func withoutNone(shares map[string]float64) map[string]float64 {
	maps.DeleteFunc(shares, func(_ string, share float64) bool { return share == 0 })
	return shares
}

// healthy is how many instances of a version the mesh knows that are not
// critical, of both services together.
func (s *stage) healthy(v string) (n int) {
	for _, u := range s.mesh.Upstreams() {
		for _, i := range u.Instances {
			if i.Instance.Meta["version"] == v && i.Instance.Health != discovery.Critical {
				n++
			}
		}
	}
	return n
}
