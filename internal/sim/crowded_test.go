package sim

import (
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
)

// crowded has half of ten instances busy with the calls of others, of whom these
// clients see nothing but that some calls are turned away. Each instance has ten
// places; eight of those of the busy ones are taken.
var crowded = scenario{
	name: "half of 10 are busy with others' calls, 20 clients",
	claims: []claim{
		{"calls turned away, with reports over without", "<= 0.5"},
		{"the busy ones' part of the traffic", "< 0.3"},
		{"(the same without reports)", ""},
	},
	run: func(seed uint64) []float64 {
		const places, others, instances = 10, 8, 10
		run := func(reported bool) (shed, busy float64) {
			f := newFleetOf(newWorld(seed), balancer.Options{Policy: balancer.PeakEWMA, Reported: reported}, instances, 20)
			taken := make([]int, instances)
			for i := range instances / 2 {
				taken[i] = others
			}
			f.work = func(i int) (time.Duration, call.Reason) {
				if taken[i] >= places {
					return time.Millisecond, call.Throttled
				}
				taken[i]++
				return f.between(10*time.Millisecond, 30*time.Millisecond), call.OK
			}
			f.report = func(i int) float64 { return float64(taken[i]) / places }
			away, there, calls := 0, 0, 0
			f.ended = func(i int, _, _ time.Duration, r call.Reason) {
				calls++
				if r == call.Throttled {
					away++
				} else {
					taken[i]--
				}
				if i < instances/2 {
					there++
				}
			}
			f.arrivals(1200, 20*time.Second, f.call)
			f.run(21 * time.Second)
			return share(away, calls), share(there, calls)
		}
		shed, busy := run(true)
		before, unaware := run(false)
		return []float64{shed / before, busy, unaware}
	},
}
