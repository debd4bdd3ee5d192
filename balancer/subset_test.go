package balancer_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/balancer"
)

// fleet is a service with many instances and many clients.
type fleet struct {
	ids     []uint64
	clients int
	size    int
}

func newFleet(seed uint64, instances, clients, size int) fleet {
	r := rand.New(rand.NewPCG(seed, seed))
	ids := make([]uint64, instances)
	for i := range ids {
		ids[i] = r.Uint64()
	}
	return fleet{ids, clients, size}
}

// load counts the clients of each instance.
func (f fleet) load() map[uint64]int {
	load := make(map[uint64]int, len(f.ids))
	circle := balancer.NewCircle(f.ids)
	for c := range f.clients {
		for _, i := range circle.Subset(balancer.Seat(c), f.size) {
			load[f.ids[i]]++
		}
	}
	return load
}

// changed counts what is in the second fleet's subset of a client but not in the
// first's.
func changed(a, b fleet, client int) (n int) {
	known := map[uint64]bool{}
	for _, i := range balancer.Subset(a.ids, balancer.Seat(client), a.size) {
		known[a.ids[i]] = true
	}
	for _, i := range balancer.Subset(b.ids, balancer.Seat(client), b.size) {
		if !known[b.ids[i]] {
			n++
		}
	}
	return n
}

// Every instance has its fair number of clients, within a quarter or one.
func TestSubsetsAreBalanced(t *testing.T) {
	for _, f := range []fleet{
		newFleet(1, 1000, 1000, 20), newFleet(2, 970, 1000, 20), newFleet(3, 300, 300, 20),
		newFleet(4, 1000, 700, 30), newFleet(5, 110, 2000, 20),
	} {
		load := f.load()
		fair := float64(f.clients*f.size) / float64(len(f.ids))
		for _, id := range f.ids {
			if off := math.Abs(float64(load[id]) - fair); off > max(fair/4, 1) {
				t.Errorf("%d instances, %d clients: one has %d clients, fair are %.1f", len(f.ids), f.clients, load[id], fair)
			}
		}
	}
}

// Whatever comes or goes: a subset is of the right size, without doubles, the
// same for every order of the list, and changes by two at most.
func TestSubsetsAreStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFleet(rapid.Uint64().Draw(t, "seed"), rapid.OneOf(rapid.IntRange(2, 100), rapid.IntRange(101, 400)).Draw(t, "instances"), 1, 0)
		f.size = rapid.IntRange(1, max(len(f.ids)/2, 1)).Draw(t, "size")
		client := rapid.IntRange(0, 100_000).Draw(t, "client")
		subset := balancer.Subset(f.ids, balancer.Seat(client), f.size)
		if len(subset) != f.size {
			t.Fatalf("%d of %d", len(subset), f.size)
		}
		if once := slices.Compact(slices.Sorted(slices.Values(subset))); len(once) != f.size {
			t.Fatal("one twice")
		}
		mixed := f
		mixed.ids = slices.Clone(f.ids)
		turn := rapid.IntRange(0, len(f.ids)-1).Draw(t, "order")
		slices.Reverse(mixed.ids[turn:])
		if n := changed(f, mixed, client); n != 0 {
			t.Fatalf("the order of the list changes %d", n)
		}
		more := f
		// By name, as all are: a hash that was made up can lie where all gaps are
		// used up, which no name does in thousands of fleets.
		more.ids = append(slices.Clone(f.ids), balancer.Hash(rapid.StringMatching("[a-z0-9-]{1,20}").Draw(t, "new")))
		if n, limit := changed(f, more, client), (f.size+len(f.ids)-1)/len(f.ids)+1; n > limit && len(f.ids) > balancer.SubsetAbove {
			t.Fatalf("one more of %d instances changes %d of %d, want at most %d", len(f.ids), n, f.size, limit)
		}
	})
}

func TestSmallServicesAreNotSubset(t *testing.T) {
	for _, c := range []struct{ instances, clients, want int }{
		{100, 0, 0}, {101, 0, 20}, {10_000, 10_000, 100}, {1000, 10_000, 20}, {150, 20, 0}, {10_000, 0, 20},
	} {
		if got := balancer.SubsetSize(c.instances, c.clients); got != c.want {
			t.Errorf("%d instances, %d clients: %d, want %d", c.instances, c.clients, got, c.want)
		}
	}
	if got := balancer.Subset([]uint64{3, 1, 2}, 0, 3); len(got) != 3 {
		t.Errorf("a subset of all: %v", got)
	}
}

func BenchmarkSubset(b *testing.B) {
	f := newFleet(1, 10_000, 1, 20)
	b.ReportAllocs()
	for b.Loop() {
		balancer.Subset(f.ids, balancer.Seat(77), f.size)
	}
}
