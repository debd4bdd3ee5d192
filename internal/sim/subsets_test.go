package sim

import (
	"slices"

	"github.com/innermesh/innermesh/balancer"
)

// subsets has 10,000 clients know 20 of 10,000 instances each.
var subsets = scenario{
	name: "10,000 clients, 10,000 instances, subset 20",
	claims: []claim{
		{"the most connections over the mean", "<= 1.25"},
		{"the least connections over the mean", ">= 0.75"},
		{"changes of a subset by one more instance", "<= 2"},
		{"part of the clients that change at all", "<= 0.05"},
	},
	run: func(seed uint64) []float64 {
		const n, size = 10_000, 20
		w := newWorld(seed)
		ids := make([]uint64, n+1)
		for i := range ids {
			ids[i] = w.Uint64()
		}
		before, after := balancer.NewCircle(ids[:n]), balancer.NewCircle(ids)
		connections := make([]int, n)
		worst, touched := 0, 0
		for c := range n {
			known := before.Subset(balancer.Seat(c), size)
			for _, i := range known {
				connections[i]++
			}
			changed := 0
			for _, i := range after.Subset(balancer.Seat(c), size) {
				if !slices.Contains(known, i) {
					changed++
				}
			}
			worst = max(worst, changed)
			touched += min(changed, 1)
		}
		return []float64{
			float64(slices.Max(connections)) / size, float64(slices.Min(connections)) / size,
			float64(worst), share(touched, n),
		}
	},
}

// replaced has one of 1000 instances replaced by another with a name of its own,
// eight times. Where nobody minds evenness that touches the clients of two
// instances, 4 % of all, but some instances have twice the clients of others. Here
// the gap that the one leaves and the place that the other takes are shared out
// among some dozens of neighbours: more clients change, but by one or two members.
// An instance that keeps its name when it is replaced changes nothing at all.
var replaced = scenario{
	name: "1000 clients, one of 1000 instances replaced, subset 20",
	claims: []claim{
		{"changes of a subset", "<= 2"},
		{"part of the clients that change at all, on the mean", "<= 0.45"},
		{"(the most of eight times)", ""},
		{"part of all connections that is new, on the mean", "<= 0.0225"},
		{"the most connections over the mean", "<= 1.25"},
	},
	run: func(seed uint64) []float64 {
		const n, size, times = 1000, 20, 8
		w := newWorld(seed)
		ids := make([]uint64, n+times)
		for i := range ids {
			ids[i] = w.Uint64()
		}
		// known returns the subsets as indexes into ids, of which the first are gone.
		known := func(gone int) (all [n][]int) {
			circle := balancer.NewCircle(ids[gone : gone+n])
			for c := range all {
				all[c] = circle.Subset(balancer.Seat(c), size)
				for k := range all[c] {
					all[c][k] += gone
				}
			}
			return all
		}
		worst, most, touched, moved, busiest := 0, 0, 0, 0, 0
		before := known(0)
		for gone := 1; gone <= times; gone++ {
			after, connections, clients := known(gone), make([]int, n+times), 0
			for c := range n {
				changed := 0
				for _, i := range after[c] {
					connections[i]++
					if !slices.Contains(before[c], i) {
						changed++
					}
				}
				worst = max(worst, changed)
				clients += min(changed, 1)
				moved += changed
			}
			most, busiest = max(most, clients), max(busiest, slices.Max(connections))
			touched += clients
			before = after
		}
		return []float64{
			float64(worst), share(touched, times*n), share(most, n), share(moved, times*n*size),
			float64(busiest) / size,
		}
	},
}
