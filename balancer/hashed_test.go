package balancer_test

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/balancer"
)

func pool(tb testing.TB, o balancer.Options, members []*balancer.Member) *balancer.Pool {
	tb.Helper()
	p, err := balancer.NewPool(o, members)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// keyed are the hashing pickers whose promises hold for n members.
func keyed(n int) []balancer.Options {
	table := 65537
	if n > 40 {
		table = 655373
	}
	return []balancer.Options{
		{Policy: balancer.RingHash, Balance: -1},
		{Policy: balancer.Maglev, TableSize: table, Balance: -1},
	}
}

// Each member owns its share of the keys to within 5 %, and when one leaves,
// at most a fifth more than its own keys move.
func TestKeysAreSharedEvenlyAndStay(t *testing.T) {
	for _, n := range []int{3, 10, 100} {
		for _, o := range keyed(n) {
			members := newMembers(n)
			before := pool(t, o, members)
			after, err := before.Change(members[n/2:n/2+1], nil)
			if err != nil {
				t.Fatal(err)
			}
			keys := n * 10_000
			owned, moved := make([]int, n), 0
			for k := range uint64(keys) {
				info := balancer.Info{Key: k + 1}
				i := before.Pick(info)
				owned[i]++
				if members[i] != after.Members()[after.Pick(info)] {
					moved++
				}
			}
			// Five standard deviations of the count itself are no unevenness.
			slack := 5 / math.Sqrt(float64(keys/n))
			for i, got := range owned {
				if off := float64(got*n)/float64(keys) - 1; math.Abs(off) > 0.05+slack/2 {
					t.Errorf("%s, %d members: member %d owns %+.1f %% of its share", o.Policy, n, i, 100*off)
				}
			}
			if limit := 1.2/float64(n) + slack/float64(n); float64(moved)/float64(keys) > limit {
				t.Errorf("%s, %d members: %d of %d keys moved, want at most %.4f", o.Policy, n, moved, keys, limit)
			}
		}
	}
}

func TestKeysFollowWeights(t *testing.T) {
	weights := []int{1, 2, 3, 6, 12}
	for _, o := range keyed(len(weights)) {
		members := newMembers(len(weights))
		for i, w := range weights {
			members[i].SetWeight(w)
		}
		p := pool(t, o, members)
		owned := make([]int, len(weights))
		const keys = 240_000
		for k := range uint64(keys) {
			owned[p.Pick(balancer.Info{Key: k + 1})]++
		}
		for i, w := range weights {
			if want := keys * w / 24; math.Abs(float64(owned[i])/float64(want)-1) > 0.15 {
				t.Errorf("%s: weight %d owns %d keys, want about %d", o.Policy, w, owned[i], want)
			}
		}
	}
}

// Every client agrees on the owner, in whatever order it knows the members.
func TestOwnersDoNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 20).Draw(t, "members")
		o := rapid.SampledFrom([]balancer.Options{
			{Policy: balancer.RingHash}, {Policy: balancer.Maglev, TableSize: 251},
		}).Draw(t, "options")
		members := newMembers(n)
		for _, m := range members {
			m.SetWeight(rapid.IntRange(1, 3).Draw(t, "weight"))
		}
		mixed := rapid.Permutation(members).Draw(t, "order")
		a, errA := balancer.NewPool(o, members)
		b, errB := balancer.NewPool(o, mixed)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		for k := range uint64(100) {
			info := balancer.Info{Key: balancer.Hash(fmt.Sprint(k))}
			if members[a.Pick(info)] != mixed[b.Pick(info)] {
				t.Fatalf("key %d has two owners", k)
			}
		}
	})
}

// However hot a key is, its owner carries no more than the bound and what was
// under way while the gauge looked elsewhere.
func TestOwnersAreBounded(t *testing.T) {
	for _, policy := range []balancer.Policy{balancer.RingHash, balancer.Maglev} {
		const n, load = 10, 1000
		members := newMembers(n)
		p := pool(t, balancer.Options{Policy: policy, Balance: 1.25}, members)
		for range load {
			members[p.Pick(balancer.Info{Key: 42})].Begin()
		}
		most := 0
		for _, m := range members {
			most = max(most, m.Inflight())
		}
		if limit := int(math.Ceil(load/n*1.25)) + 2; most > limit {
			t.Errorf("%s: the owner of the hot key carries %d, want at most %d", policy, most, limit)
		}
	}
}

func TestKeysOfAClosedOwnerSpread(t *testing.T) {
	for _, policy := range []balancer.Policy{balancer.RingHash, balancer.Maglev} {
		members := newMembers(10)
		p := pool(t, balancer.Options{Policy: policy, Balance: -1}, members)
		var keys []uint64
		for k := uint64(1); len(keys) < 1000; k++ {
			if p.Pick(balancer.Info{Key: k}) == 3 {
				keys = append(keys, k)
			}
		}
		members[3].CloseUntil(1)
		heirs := make([]int, 10)
		for _, k := range keys {
			first := p.Pick(balancer.Info{Key: k})
			if again := p.Pick(balancer.Info{Key: k}); again != first {
				t.Fatalf("%s: key %d goes to %d and to %d", policy, k, first, again)
			}
			heirs[first]++
		}
		for i, got := range heirs {
			if i != 3 && (got < 60 || got > 180) || i == 3 && got > 0 {
				t.Errorf("%s: member %d inherits %d of 1000 keys", policy, i, got)
			}
		}
	}
}

func TestHashingNeedsIDs(t *testing.T) {
	if _, err := balancer.New(balancer.Maglev, []*balancer.Member{new(balancer.Member)}); err == nil {
		t.Error("accepted a member without an ID")
	}
	if balancer.Hash("") == 0 {
		t.Error("a key is 0")
	}
}
