package drill

import (
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
)

// A cluster of three servers loses its leader; no call fails, and when another
// is elected what changes is seen again.
func TestConsulLosesItsLeader(t *testing.T) {
	long(t)
	cluster := consultest.StartCluster(t, 3, consultest.Options{})
	leader, err := cluster.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	follower := cluster.Servers[slices.IndexFunc(cluster.Servers, func(a *consultest.Agent) bool { return a != leader })]
	s := newStage(t, follower)
	s.speak(s.service)
	s.write(func(name string) []api.ConfigEntry {
		return []api.ConfigEntry{
			&api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: name, DefaultSubset: "v1", Subsets: subsets("v1", "v2")},
		}
	})
	children := s.play("v1-a", "v1-b")
	begin(t, s, "v2-a")

	leader.Kill()
	start := time.Now()
	if _, err := cluster.Leader(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("another leader after %v", time.Since(start).Round(time.Millisecond))
	took := s.await(10*time.Second, "all registrations are there", func() bool { return s.registered(3) })
	show(t, "registrations are there within 10 s", "%v", took.Round(time.Millisecond))
	s.goOn(100)
	s.split(map[string]float32{"v1": 50, "v2": 50})
	s.answering("v2-a")
	begin(t, s, "v1-c")
	s.answering("v1-c")
	children["v1-a"].drain(t)
	s.await(10*time.Second, "v1-a is out of rotation", func() bool { return len(s.upstream("v1-a")) == 0 })
	s.split(map[string]float32{"v1": 100, "v2": 0})
	s.only("v1")
	s.finish("another leader of Consul, no call fails")
}
