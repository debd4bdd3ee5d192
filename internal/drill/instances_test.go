package drill

import (
	"slices"
	"testing"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

// Instances are added, leave and are killed, and no call fails.
func TestInstancesComeAndGo(t *testing.T) {
	s, children := open(t, consultest.Options{}, "a", "b", "c")
	for _, id := range []string{"d", "e"} {
		children[id] = begin(t, s, id)
		s.answering(id)
	}

	children["a"].drain(t)
	s.await(5*time.Second, "a is out of rotation", func() bool { return len(s.upstream("a")) == 0 })
	before := s.loads[0].from("a") + s.loads[1].from("a")
	s.goOn(100)
	if after := s.loads[0].from("a") + s.loads[1].from("a"); after != before {
		t.Errorf("%d answers of a backend that has left", after-before)
	}

	for i, victim := range []string{"b", "c", "d"} {
		children[victim].kill()
		s.await(10*time.Second, "calls have met the killed "+victim, func() bool {
			known := s.upstream(victim)
			return len(known) == 2 && known[0].Failures > 0 && known[1].Failures > 0
		})
		if i < 2 {
			next := []string{"f", "g"}[i]
			children[next] = begin(t, s, next)
			s.answering(next)
		}
	}
	// It is left alone, apart from a try now and then, long before Consul knows.
	s.goOn(100)
	tries := func() (n uint64) {
		for _, i := range s.upstream("d") {
			n += i.Attempts
		}
		return n
	}
	met := tries()
	s.goOn(200)
	if again := tries() - met; again > 20 {
		t.Errorf("%d of 400 calls went to a killed backend", again)
	}
	s.await(20*time.Second, "Consul knows that the killed ones are gone", func() bool {
		return !slices.ContainsFunc([]string{"b", "c", "d"}, func(id string) bool {
			known := s.upstream(id)
			return slices.ContainsFunc(known, func(i mesh.UpstreamInstance) bool { return i.Instance.Health != discovery.Critical })
		})
	})
	for _, id := range []string{"e", "f", "g"} {
		s.answering(id)
	}
	s.finish("instances come, leave and are killed, no call fails")
}
