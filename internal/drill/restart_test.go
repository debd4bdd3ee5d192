package drill

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
)

// Consul crashes and returns, with its memory or without, and no call fails; the
// registrations are back, and what happens afterwards is seen.
func TestConsulRestarts(t *testing.T) {
	for _, c := range []struct {
		name       string
		persistent bool
	}{{"with its data", true}, {"wiped", false}} {
		t.Run(c.name, func(t *testing.T) {
			s, children := open(t, consultest.Options{Persistent: c.persistent}, "a", "b", "c")
			if _, err := s.consul.KV().Put(&api.KVPair{Key: "memory"}, nil); err != nil {
				t.Fatal(err)
			}
			s.gate.set(!c.persistent) // wiped, it learns of nobody until it was asked
			s.agent.Kill()
			s.goOn(100)
			if err := s.agent.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			memory, _, err := s.consul.KV().Get("memory", nil)
			if err != nil || c.persistent != (memory != nil) {
				t.Errorf("the agent has its memory: %v, %v", memory != nil, err)
			}
			if !c.persistent {
				s.await(30*time.Second, "what was forgotten is held", func() bool { return strings.Contains(s.said(), "has lost its memory") })
				s.goOn(100)
				s.gate.set(false)
			}
			took := s.await(10*time.Second, "all registrations are back", func() bool { return s.registered(3) })
			t.Logf("registrations back after %v", took.Round(time.Millisecond))
			show(t, "registrations are back within 5 s", "%v", took.Round(time.Millisecond))
			if took > 5*time.Second {
				t.Errorf("the registrations were back only after %v", took)
			}
			children["d"] = begin(t, s, "d")
			s.answering("d")
			if !c.persistent {
				s.goOn(11 * wanted) // longer than anything is held
			}
			children["a"].drain(t)
			s.await(5*time.Second, "a is out of rotation", func() bool { return len(s.upstream("a")) == 0 })
			for _, id := range []string{"b", "c", "d"} {
				s.answering(id)
			}
			s.finish("Consul restarts, no call fails")
		})
	}
}
