package balancer_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/balancer"
)

// A changed pool is the pool that would have been built.
func TestChangeEqualsBuilding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := newMembers(rapid.IntRange(0, 12).Draw(t, "members"))
		for _, m := range all {
			m.SetWeight(rapid.SampledFrom([]int{1, 1, 1, 5}).Draw(t, "weight"))
		}
		from := rapid.IntRange(0, len(all)).Draw(t, "joining")
		join, members := all[from:], all[:from]
		var stay, leave []*balancer.Member
		for _, m := range members {
			if rapid.Bool().Draw(t, "leaves") {
				leave = append(leave, m)
			} else {
				stay = append(stay, m)
			}
		}
		o := balancer.Options{Policy: rapid.SampledFrom(policies).Draw(t, "policy"), TableSize: 101}
		p, err := balancer.NewPool(o, members)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := p.Change(leave, join)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Concat(stay, join)
		if !slices.Equal(changed.Members(), want) {
			t.Fatalf("members differ")
		}
		if !slices.Equal(p.Members(), members) {
			t.Fatal("the pool itself has changed")
		}
		built, err := balancer.NewPool(o, want)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			info := balancer.Info{Key: rapid.Uint64().Draw(t, "key"), Luck: rapid.Uint64Min(1).Draw(t, "luck")}
			turns := o.Policy == balancer.RoundRobin || o.Policy == balancer.WeightedRoundRobin
			if a, b := changed.Pick(info), built.Pick(info); a != b && !turns {
				t.Fatalf("changed picks %d, built %d", a, b)
			}
		}
		stranger := []*balancer.Member{new(balancer.Member)}
		if _, err := p.Change(stranger, nil); !errors.Is(err, balancer.ErrUnknownMember) {
			t.Fatalf("took out a stranger: %v", err)
		}
		if len(leave) > 0 {
			if _, err := p.Change(append(leave, leave[0]), stranger); !errors.Is(err, balancer.ErrUnknownMember) {
				t.Fatalf("took out one twice: %v", err)
			}
		}
	})
}

// When the last ones leave, there is nobody to pick, whatever they weighed.
func TestChangeToNobody(t *testing.T) {
	for _, policy := range policies {
		members := newMembers(2)
		members[1].SetWeight(5)
		p, err := balancer.NewPool(balancer.Options{Policy: policy}, members)
		if err != nil {
			t.Fatal(err)
		}
		nobody, err := p.Change(members, nil)
		if err != nil {
			t.Fatal(err)
		}
		if i := nobody.Pick(balancer.Info{}); i != -1 {
			t.Errorf("%s picks %d of nobody", policy, i)
		}
	}
}

// One of 10,000 instances must not cost an allocation for each.
func TestChangeAllocatesLittle(t *testing.T) {
	members := newMembers(10_001)
	for _, policy := range policies[:6] {
		for _, weight := range []int{1, 3} {
			members[77].SetWeight(weight)
			p := pool(t, balancer.Options{Policy: policy}, members[:10_000])
			if got := testing.AllocsPerRun(10, func() {
				if _, err := p.Change(members[500:501], members[10_000:]); err != nil {
					t.Fatal(err)
				}
			}); got > 20 {
				t.Errorf("%s: %v allocations", policy, got)
			}
		}
	}
}

// Rounds are exact, and no member waits much longer than its share says.
func TestWeightedRoundRobinIsSmooth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(1, 40), 2, 30).Draw(t, "weights")
		members, total := newMembers(len(weights)), 0
		for i, w := range weights {
			members[i].SetWeight(w)
			total += w
		}
		p, err := balancer.New(balancer.WeightedRoundRobin, members)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Min(weights) == slices.Max(weights) {
			total = len(weights)
		}
		count, last, gap := make([]int, len(weights)), make([]int, len(weights)), make([]int, len(weights))
		for turn := 1; turn <= 3*total; turn++ {
			i := p.Pick(balancer.Info{})
			count[i]++
			if last[i] > 0 {
				gap[i] = max(gap[i], turn-last[i])
			}
			last[i] = turn
		}
		for i, w := range weights {
			if total == len(weights) {
				w = 1
			}
			if count[i] != 3*w {
				t.Fatalf("weight %d of %d got %d turns in three rounds", w, total, count[i])
			}
			if fair := float64(total) / float64(w); float64(gap[i]) > 4*fair+1 {
				t.Fatalf("weight %d of %d waited %d turns", w, total, gap[i])
			}
		}
	})
}

func TestOptionsNameEveryFault(t *testing.T) {
	err := balancer.Options{Policy: "fastest", Choices: 1, Balance: 0.5, RingSize: -1, MaxRingSize: 8<<20 + 1, TableSize: 65536}.Validate()
	for _, field := range []string{`"fastest"`, "Choices", "Balance", "RingSize is -1", "MaxRingSize", "TableSize"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	for _, o := range []balancer.Options{{}, {Choices: 3, SlowStart: -1, Balance: -1, RingSize: 1, TableSize: 3}} {
		if err := o.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestMoreChoicesFindTheIdleOne(t *testing.T) {
	share := func(choices int) int {
		members := newMembers(10)
		for _, m := range members[1:] {
			m.Begin()
		}
		p := pool(t, balancer.Options{Policy: balancer.LeastRequest, Choices: choices}, members)
		return picks(p, 10_000, 0)[0]
	}
	if two, five := share(2), share(5); two < 1800 || two > 2200 || five < 3700 || five > 5000 {
		t.Errorf("the idle member of ten got %d picks of 10000 with two choices and %d with five", two, five)
	}
}
