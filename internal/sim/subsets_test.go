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
