package cluster_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/policy"
)

func at(region, zone string) func(*cluster.Options) {
	return func(o *cluster.Options) { o.Place = balancer.Place{Region: region, Zone: zone} }
}

// shares picks many times and says how many went where, in percent.
func shares(t *testing.T, c *cluster.Cluster, by func(discovery.Instance) string) map[string]float64 {
	t.Helper()
	const picks = 4000
	got := map[string]float64{}
	for range picks {
		p, err := c.View().Pick(info())
		if err != nil {
			t.Fatal(err)
		}
		got[by(p.Instance())] += 100.0 / picks
		p.Judge(mono.Now(), time.Millisecond, call.Outcome{})
		p.Release()
	}
	return got
}

func near(got, want float64) bool { return got > want-3 && got < want+3 }

// Three zones of four: all calls stay in the zone until too few are left there.
func TestZonesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := fleet(12)
		all[11].Region, all[11].Zone = "far", "z9"
		registry := new(discovery.Memory)
		set(t, registry, all...)
		c := openWith(t, registry, policy.Service{Balancer: policy.Balancer{PanicPercent: 50}}, at("r", "z0"))
		defer c.Close()
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		zone := func(i discovery.Instance) string { return i.Zone }
		expect := func(what string, want map[string]float64) {
			t.Helper()
			time.Sleep(time.Second) // shares are looked at once a second
			got := shares(t, c, zone)
			for z, w := range want {
				if !near(got[z], w) {
					t.Errorf("%s: %s gets %.1f %%, want %v: %v", what, z, got[z], w, got)
				}
			}
		}
		expect("all well", map[string]float64{"z0": 100})
		failHard(t, c, "web-00000")
		expect("one of four out", map[string]float64{"z0": 100})
		failHard(t, c, "web-00003")
		expect("two of four out", map[string]float64{"z0": 70, "z9": 0})
		failHard(t, c, "web-00006")
		failHard(t, c, "web-00009")
		expect("all four out", map[string]float64{"z0": 0, "z9": 0})
		apply := func(b policy.Balancer) {
			c.Apply(merged(policy.Service{Balancer: b, Breaker: policy.Breaker{Open: policy.Off}}))
		}
		apply(policy.Balancer{Prefer: policy.PreferRegion})
		expect("by region", map[string]float64{"z0": 400.0 / 11, "z9": 0})
		apply(policy.Balancer{Prefer: policy.PreferNone})
		expect("by no distance", map[string]float64{"z9": 100.0 / 12})
		apply(policy.Balancer{})
		heavy := slices.Clone(all)
		for i := range heavy {
			heavy[i].Weight = 1
		}
		heavy[3].Weight = 5
		set(t, registry, heavy...)
		if got := shares(t, c, func(i discovery.Instance) string { return i.ID }); !near(got["web-00003"], 5*100.0/8) {
			t.Errorf("weights within the zone: %v", got)
		}
	})
}

// failHard makes a member fail until its breaker opens.
func failHard(t *testing.T, c *cluster.Cluster, id string) {
	t.Helper()
	all := c.View().Members()
	var others []*balancer.Member
	for _, m := range all {
		if m.ID != id {
			others = append(others, m.Load())
		}
	}
	for range policy.Default().Breaker.Failures {
		p, err := c.View().Pick(balancer.Info{Now: mono.Now(), Tried: others})
		if err != nil || p.ID != id {
			t.Fatalf("picked %v instead of %s: %v", p.Member, id, err)
		}
		p.Judge(mono.Now(), time.Millisecond, call.Outcome{Reason: call.Faulty})
		p.Release()
	}
}

func ids(c *cluster.Cluster) []string {
	var all []string
	for _, m := range c.View().Members() {
		all = append(all, m.ID)
	}
	slices.Sort(all)
	return all
}

// Of a large service each process calls a part, the same one all the time.
func TestLargeServicesAreSubset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := fleet(400)
		seat := func(n int) func(*cluster.Options) {
			return func(o *cluster.Options) { o.Seat = balancer.Seat(n) }
		}
		c, source := opened(t, 100, policy.Service{}, seat(3))
		if n := len(ids(c)); n != 100 {
			t.Fatalf("%d of 100 are called", n)
		}
		source.tell(all)
		before := ids(c)
		if len(before) != 20 {
			t.Fatalf("%d of 400 are called", len(before))
		}
		if s := c.Status(); len(s.Instances) != 400 || s.Error != nil {
			t.Errorf("%d are shown, %v", len(s.Instances), s.Error)
		}
		held := map[string]*cluster.Member{}
		for _, m := range c.View().Members() {
			held[m.ID] = m
		}
		for name, other := range map[string][]discovery.Instance{
			"another comes": append(slices.Clone(all), discovery.Instance{ID: "web-99999", Address: "a:1"}),
			"one goes":      slices.DeleteFunc(slices.Clone(all), func(i discovery.Instance) bool { return i.ID == before[7] }),
		} {
			source.tell(other)
			changed := 0
			for _, m := range c.View().Members() {
				if held[m.ID] == nil {
					changed++
				} else if held[m.ID].Gone() {
					t.Errorf("%s: %s is called, and is gone", name, m.ID)
				}
			}
			if n := len(ids(c)); n != 20 || changed > 2 {
				t.Errorf("%s: %d are called, %d of them new", name, n, changed)
			}
			source.tell(all)
			if after := ids(c); !slices.Equal(after, before) {
				t.Errorf("%s and no more: %v instead of %v", name, after, before)
			}
			for _, m := range c.View().Members() {
				held[m.ID] = m
			}
		}
		clients := map[string]int{}
		for n := range 40 {
			o, s := opened(t, 0, policy.Service{}, seat(n))
			s.tell(all)
			for _, id := range ids(o) {
				clients[id]++
			}
		}
		if len(clients) != 400 { // 800 connections: one or three each, and none without
			t.Errorf("%d of 400 have a client", len(clients))
		}
		c.Apply(merged(policy.Service{Balancer: policy.Balancer{SubsetAbove: -1}}))
		if n := len(ids(c)); n != 400 {
			t.Errorf("%d of 400 are called with subsets off", n)
		}
		c.Apply(merged(policy.Service{Balancer: policy.Balancer{SubsetSize: 50}}))
		if n := len(ids(c)); n != 50 {
			t.Errorf("%d of 400 are called, want 50", n)
		}
		c.Apply(merged(policy.Service{Balancer: policy.Balancer{Policy: policy.Maglev}}))
		if n := len(ids(c)); n != 400 {
			t.Errorf("%d of 400 are called by key", n)
		}
	})
}

// A part is chosen in each zone for itself: nobody is left without neighbours.
func TestSubsetsWithinZones(t *testing.T) {
	c, source := opened(t, 0, policy.Service{}, at("r", "z1"))
	source.tell(fleet(900))
	zones := map[string]int{}
	for _, m := range c.View().Members() {
		zones[m.Instance().Zone]++
	}
	if zones["z1"] != 20 || zones["z0"]+zones["z2"] != 20 {
		t.Errorf("called by zone: %v", zones)
	}
}

// However an update came about, the view is that of a cluster which saw it first.
func TestUpdatesAddUp(t *testing.T) {
	c, source := opened(t, 0, policy.Service{})
	now := []discovery.Instance{}
	for step := range 200 {
		now = slices.Clone(now)
		id := fmt.Sprintf("%03d", step*37%61)
		at := slices.IndexFunc(now, func(i discovery.Instance) bool { return i.ID == id })
		switch {
		case at < 0:
			now = append(now, discovery.Instance{ID: id, Address: id + ":1"})
		case step%4 == 0:
			now[at].Health = discovery.Critical - now[at].Health
		case step%4 == 1:
			now[at].Address = fmt.Sprint(id, ":", step)
		case step%4 == 2:
			now[at].Weight = step
		default:
			now = slices.Delete(now, at, at+1)
		}
		if step%3 == 0 {
			slices.SortFunc(now, cmpID)
		} // and sometimes not, as no source should
		source.tell(now)
		want := map[string]string{}
		for _, i := range now {
			if i.Health != discovery.Critical {
				want[i.ID] = i.Address
			}
		}
		members := c.View().Members()
		if len(members) != len(want) {
			t.Fatalf("step %d: %d members, want %d", step, len(members), len(want))
		}
		for _, m := range members {
			if want[m.ID] != m.Address || m.Gone() || m.Load().Weight() != max(m.Instance().Weight, 1) {
				t.Fatalf("step %d: %s at %s, want %s", step, m.ID, m.Address, want[m.ID])
			}
		}
		for range 40 * len(members) {
			p, err := c.View().Pick(info())
			if err != nil {
				t.Fatal(err)
			}
			if want[p.ID] != p.Address {
				t.Fatalf("step %d: picked %s at %s", step, p.ID, p.Address)
			}
			p.Judge(mono.Now(), 0, call.Outcome{})
			p.Release()
		}
	}
}

func cmpID(a, b discovery.Instance) int {
	if a.ID < b.ID {
		return -1
	}
	return 1
}
