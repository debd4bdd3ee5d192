package drill

import (
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
)

// A service-splitter moves calls from one version to another, a few at first and
// then all, and all back at once; no call fails, and each version gets its share.
func TestCanaryAndBlueGreen(t *testing.T) {
	long(t)
	s := newStage(t, consultest.Start(t, consultest.Options{}))
	s.speak(s.service)
	s.write(func(name string) []api.ConfigEntry {
		return []api.ConfigEntry{
			&api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: name, DefaultSubset: "v1", Subsets: subsets("v1", "v2")},
		}
	})
	s.play("v1-a", "v1-b")
	begin(t, s, "v2-a")
	begin(t, s, "v2-b")

	for _, phase := range []struct {
		v1, v2 float32
		calls  int
	}{
		{100, 0, 300},
		{90, 10, 1000}, // canary
		{0, 100, 300},
		{100, 0, 300}, // the way back is one step
	} {
		s.split(map[string]float32{"v1": phase.v1, "v2": phase.v2})
		for i, by := range s.draw(phase.calls) {
			if !s.fair(i, by, phase.v2) {
				// A fair draw looks unfair once in a thousand times, but not twice running.
				if again := s.draw(phase.calls)[i]; !s.fair(i, again, phase.v2) {
					t.Errorf("%s: v2 gets %v %% of the calls: %v, and again %v", s.loads[i].name, phase.v2, by, again)
				}
			}
		}
	}
	s.finish("calls move between versions, none fails")
}

// fair says whether chance can explain the answers of a load, if v2 gets that
// many percent.
func (s *stage) fair(load int, by map[string]int, percent float32) bool {
	n := by["v1"] + by["v2"]
	from, to := binomial(n, float64(percent)/100)
	s.t.Logf("%s: %d of %d calls went to v2, at %v %% expected %d to %d", s.loads[load].name, by["v2"], n, percent, from, to)
	return from <= by["v2"] && by["v2"] <= to
}
