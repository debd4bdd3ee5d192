package balancer_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
)

var policies = balancer.Policies()

func newMembers(n int) []*balancer.Member {
	members := make([]*balancer.Member, n)
	for i := range members {
		members[i] = new(balancer.Member)
		members[i].SetID(fmt.Sprintf("instance-%d", i))
	}
	return members
}

func build(tb testing.TB, p balancer.Policy, members []*balancer.Member) balancer.Picker {
	tb.Helper()
	picker, err := balancer.New(p, members)
	if err != nil {
		tb.Fatal(err)
	}
	return picker
}

// Whatever is closed and tried: a pick is open, it is untried while an untried
// one is open, and there is a pick whenever something is open.
func TestPickKeepsItsContract(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := newMembers(rapid.IntRange(0, 12).Draw(t, "members"))
		now := time.Minute
		var open, fresh, tried []*balancer.Member
		for _, m := range members {
			if rapid.Bool().Draw(t, "closed") {
				m.CloseUntil(now + 1)
			} else {
				open = append(open, m)
			}
			m.SetWeight(rapid.SampledFrom([]int{1, 1, 2, 50}).Draw(t, "weight"))
			if rapid.Bool().Draw(t, "warming") {
				m.Warm(now - time.Duration(rapid.IntRange(0, 30).Draw(t, "age"))*time.Second)
			}
			for range rapid.IntRange(0, 3).Draw(t, "load") {
				m.Start(now)
			}
			if rapid.Bool().Draw(t, "tried") {
				tried = append(tried, m)
			} else if m.Open(now) {
				fresh = append(fresh, m)
			}
		}
		policy := rapid.SampledFrom(policies).Draw(t, "policy")
		picker, err := balancer.New(policy, members)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			i := picker.Pick(balancer.Info{Now: now, Tried: tried, Key: rapid.SampledFrom([]uint64{0, 7}).Draw(t, "key")})
			switch {
			case i < 0 && len(open) > 0:
				t.Fatalf("no pick although %d members are open", len(open))
			case i < 0:
			case !members[i].Open(now):
				t.Fatal("picked a closed member")
			case len(fresh) > 0 && !slices.Contains(fresh, members[i]):
				t.Fatal("picked a tried member although a fresh one is open")
			}
		}
	})
}

func TestIdleMembersShareEvenly(t *testing.T) {
	for _, policy := range policies {
		const n, picks = 7, 70_000
		members := newMembers(n)
		picker := build(t, policy, members)
		var count [n]int
		for range picks {
			count[picker.Pick(balancer.Info{})]++
		}
		for i, got := range count {
			if want := picks / n; got < want*9/10 || got > want*11/10 {
				t.Errorf("%s: member %d got %d picks, want about %d", policy, i, got, want)
			}
		}
	}
}

// With two members both are always compared: the loaded one gets nothing.
func TestP2CComparesTwoDifferentMembers(t *testing.T) {
	members := newMembers(2)
	members[0].Begin()
	picker := build(t, balancer.P2C, members)
	for range 1000 {
		if i := picker.Pick(balancer.Info{}); i != 1 {
			t.Fatalf("picked the loaded member")
		}
	}
}

func TestP2CHonoursWeights(t *testing.T) {
	members := newMembers(2)
	members[1].SetWeight(3)
	picker := build(t, balancer.P2C, members)
	for range 40 {
		members[picker.Pick(balancer.Info{})].Begin()
	}
	if a, b := members[0].Inflight(), members[1].Inflight(); a < 9 || a > 11 {
		t.Errorf("in flight %d and %d, want about 10 and 30", a, b)
	}
}

func TestP2CHonoursWeightsWhenIdle(t *testing.T) {
	const picks = 60_000
	weights := []int{1, 2, 3, 6}
	members := newMembers(len(weights))
	for i, w := range weights {
		members[i].SetWeight(w)
	}
	picker := build(t, balancer.P2C, members)
	count := make([]int, len(weights))
	for range picks {
		count[picker.Pick(balancer.Info{})]++
	}
	for i, w := range weights {
		if want := picks * w / 12; count[i] < want*9/10 || count[i] > want*11/10 {
			t.Errorf("weight %d got %d picks, want about %d", w, count[i], want)
		}
	}
}

func TestUnknownPolicy(t *testing.T) {
	if _, err := balancer.New("fastest", nil); err == nil {
		t.Error("accepted an unknown policy")
	}
}

func TestPicksDoNotAllocate(t *testing.T) {
	for _, policy := range policies {
		members := newMembers(10)
		members[3].SetWeight(7)
		picker := build(t, policy, members)
		now := time.Hour
		if got := testing.AllocsPerRun(1000, func() {
			m := members[picker.Pick(balancer.Info{Now: now, Key: 3})]
			m.Start(now)
			now += time.Millisecond
			m.Finish(now, time.Millisecond, call.OK, 0)
		}); got != 0 {
			t.Errorf("%s: %v allocations a pick", policy, got)
		}
	}
}
