package cluster

import (
	"testing"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/policy"
)

// viewOf is a view over members in these zones.
func viewOf(zones ...string) *View {
	var members []*Member
	for i, z := range zones {
		members = append(members, newMember(nil, discovery.Instance{ID: string(rune('a' + i)), Region: "eu", Zone: z}))
	}
	return newView(newSettings(policy.Merge(policy.Layer{Service: policy.Default()})), [][]*Member{members}, len(members), nil)
}

func TestNeighbours(t *testing.T) {
	v := viewOf("1", "2", "1", "3", "1", "")
	tried := []*balancer.Member{v.loads[0]}
	if got := v.Neighbours(tried, tried); len(got) != 3 || got[1] != v.loads[2] || got[2] != v.loads[4] {
		t.Errorf("%d neighbours, want the two others of the zone", len(got)-1)
	}
	nowhere := []*balancer.Member{v.loads[5]}
	if got := v.Neighbours(nowhere, nowhere); len(got) != 1 {
		t.Errorf("who is in no known zone has %d neighbours", len(got)-1)
	}
	if len(tried) != 1 {
		t.Error("the list was written to")
	}
}

func TestQuickest(t *testing.T) {
	v := viewOf("1", "1", "1")
	if got := v.Quickest(balancer.Info{}); got != 0 {
		t.Errorf("%v, although nothing is known", got)
	}
	for i, m := range v.members {
		m.latency.Record(time.Duration(i+1) * 10 * time.Millisecond)
	}
	info := balancer.Info{Tried: []*balancer.Member{v.loads[0]}}
	if got := v.Quickest(info); got < 20*time.Millisecond || got > 25*time.Millisecond {
		t.Errorf("%v, want about 20ms, the best of those not tried", got)
	}
}
