package balancer_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/balancer"
)

// Envoy's table of priority loads, in percent.
func TestSplit(t *testing.T) {
	for _, c := range []struct{ open, want []int }{
		{[]int{100, 100}, []int{100, 0}},
		{[]int{72, 100}, []int{100, 0}},
		{[]int{71, 100}, []int{99, 1}},
		{[]int{50, 100}, []int{70, 30}},
		{[]int{25, 100}, []int{35, 65}},
		{[]int{25, 25}, []int{50, 50}},
		{[]int{25, 25, 20}, []int{36, 36, 29}}, // Envoy rounds the last one down
		{[]int{0, 100}, []int{0, 100}},
		{[]int{0, 0}, []int{50, 50}},
	} {
		var levels []balancer.Level
		for _, n := range c.open {
			levels = append(levels, balancer.Level{Total: 100, Open: n})
		}
		for i, part := range (balancer.Tiering{}).Split(levels, nil) {
			if got := int(math.Round(100 * part.Share)); got != c.want[i] {
				t.Errorf("open %v: level %d gets %d %%, want %d", c.open, i, got, c.want[i])
			}
		}
	}
}

// Shares are a whole; while anyone is open a level without open members gets
// nothing, unless it is in panic.
func TestSplitIsAWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tiering := balancer.Tiering{
			Overprovision: rapid.Float64Range(1, 3).Draw(t, "overprovision"),
			PanicRatio:    rapid.SampledFrom([]float64{-1, 0, 0.3, 1}).Draw(t, "panic"),
		}
		var levels []balancer.Level
		total, open := 0, 0
		for range rapid.IntRange(1, 6).Draw(t, "levels") {
			l := balancer.Level{Total: rapid.IntRange(0, 20).Draw(t, "total")}
			l.Open = rapid.IntRange(0, l.Total).Draw(t, "open")
			levels = append(levels, l)
			total, open = total+l.Total, open+l.Open
		}
		sum := 0.0
		for i, part := range tiering.Split(levels, nil) {
			sum += part.Share
			if part.Share < 0 || open > 0 && levels[i].Open == 0 && part.Share > 1e-9 {
				t.Fatalf("level %d of %v gets %v", i, levels, part.Share)
			}
			if tiering.PanicRatio < 0 && part.Panic {
				t.Fatal("panic, though that is off")
			}
		}
		if total > 0 && math.Abs(sum-1) > 1e-9 {
			t.Fatalf("%v: shares add up to %v", levels, sum)
		}
	})
}

// zones returns three zones of four members, the first of them the client's.
func zones(tb testing.TB) (*balancer.Tiers, []*balancer.Member) {
	tb.Helper()
	members := newMembers(12)
	place := func(i int) balancer.Place {
		return []balancer.Place{
			{Datacenter: "d", Region: "r", Zone: "a"}, {Datacenter: "d", Region: "r", Zone: "b"}, {Datacenter: "d", Region: "q", Zone: "a"},
		}[i/4]
	}
	levels := balancer.ByDistance(place(0), members, place, nil)
	if len(levels) != 3 {
		tb.Fatalf("%d levels", len(levels))
	}
	tiers, err := balancer.NewTiers(balancer.Options{}, balancer.Tiering{}, levels)
	if err != nil {
		tb.Fatal(err)
	}
	return tiers, members
}

func TestTiersSpillAsCapacityFalls(t *testing.T) {
	tiers, members := zones(t)
	local := func(now time.Duration) int {
		n := 0
		for i, got := range picks(tiers, 20_000, now) {
			if i < 4 {
				n += got
			}
		}
		return n / 200
	}
	now := start
	if got := local(now); got != 100 {
		t.Errorf("all open: %d %% stay near", got)
	}
	members[0].CloseUntil(math.MaxInt64)
	members[1].CloseUntil(math.MaxInt64)
	now += time.Second
	if got := local(now); got < 68 || got > 72 {
		t.Errorf("half is open: %d %% stay near, want 70", got)
	}
	members[2].CloseUntil(math.MaxInt64)
	members[3].CloseUntil(math.MaxInt64)
	if got := local(now); got != 0 { // at once, though nobody has looked again
		t.Errorf("none is open: %d %% stay near", got)
	}
	if tiers.Panic() {
		t.Error("panic, though others carry all")
	}
	for _, m := range members {
		m.CloseUntil(math.MaxInt64)
	}
	now += time.Second
	if got := picks(tiers, 6000, now); len(got) != 12 || !tiers.Panic() {
		t.Errorf("nobody is open: picks %v, want everybody", got)
	}
}

// A retry prefers another instance, then another zone.
func TestTiersAvoidWhoWasTried(t *testing.T) {
	tiers, members := zones(t)
	var tried []*balancer.Member
	for n := range members {
		i := tiers.Pick(balancer.Info{Now: start, Tried: tried})
		if i/4 != n/4 || slices.Contains(tried, members[i]) {
			t.Fatalf("pick %d is member %d", n, i)
		}
		tried = append(tried, members[i])
	}
	if i := tiers.Pick(balancer.Info{Now: start, Tried: tried}); i < 0 {
		t.Error("no pick when all were tried")
	}
}

func TestTiersDoNotAllocate(t *testing.T) {
	tiers, _ := zones(t)
	now := start
	if got := testing.AllocsPerRun(1000, func() {
		now += 300 * time.Millisecond
		tiers.Pick(balancer.Info{Now: now})
	}); got != 0 {
		t.Errorf("%v allocations a pick", got)
	}
}

func TestPrioritiesComeBeforeDistance(t *testing.T) {
	members := newMembers(3)
	places := []balancer.Place{{Zone: "far"}, {Zone: "a"}, {Zone: "far"}}
	levels := balancer.ByDistance(balancer.Place{Zone: "a"}, members,
		func(i int) balancer.Place { return places[i] }, func(i int) int { return []int{0, 1, math.MaxInt >> 8}[i] })
	for i, level := range levels {
		if len(levels) != 3 || level[0] != members[i] {
			t.Fatalf("levels %v", levels)
		}
	}
	if d := (balancer.Place{}).Distance(places[0]); d != balancer.SameZone {
		t.Errorf("without a place of its own: %d", d)
	}
}

// Half of the clients are in the first zone, but only a fifth of the instances:
// all instances carry the same.
func TestZoneSharesLoadAllAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.SliceOfN(rapid.IntRange(1, 20), 3, 3)
		own, upstream := count.Draw(t, "own"), count.Draw(t, "upstream")
		load, clients, instances := make([]float64, 3), 0.0, 0.0
		for z := range own {
			clients, instances = clients+float64(own[z]), instances+float64(upstream[z])
			sum := 0.0
			for to, share := range balancer.ZoneShares(own, upstream, z) {
				load[to] += share * float64(own[z])
				sum += share
			}
			if math.Abs(sum-1) > 1e-9 {
				t.Fatalf("shares of zone %d add up to %v", z, sum)
			}
		}
		for z := range load {
			if fair := clients / instances; math.Abs(load[z]/float64(upstream[z])-fair) > 1e-6*fair {
				t.Fatalf("own %v upstream %v: zone %d carries %v an instance, fair is %v", own, upstream, z, load[z]/float64(upstream[z]), fair)
			}
		}
	})
}

func TestTieringNamesEveryFault(t *testing.T) {
	if _, err := balancer.NewTiers(balancer.Options{}, balancer.Tiering{Overprovision: 0.5, PanicRatio: 2}, nil); err == nil {
		t.Error("accepted faults")
	}
	tiers, err := balancer.NewTiers(balancer.Options{}, balancer.Tiering{}, nil)
	if err != nil || tiers.Pick(balancer.Info{}) != -1 {
		t.Errorf("without members: %v", err)
	}
}
