package sim

import (
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
)

// trouble has the first instance of a fleet in trouble from the 15th to the 45th
// second of a minute, at 1000 calls a second.
type trouble struct {
	instances, clients int
	well, ill          func(*world) (time.Duration, call.Reason)
}

// minute returns how long all calls of the minute took, the part of them that
// went to the instance while it was in trouble, and the part that was good: no
// failure and no second late.
func (t trouble) minute(seed uint64, policy balancer.Policy) (all []time.Duration, bad, good float64) {
	const from, to, end = 15 * time.Second, 45 * time.Second, time.Minute
	f := newFleet(newWorld(seed), policy, t.instances, t.clients)
	f.work = func(i int) (time.Duration, call.Reason) {
		if i == 0 && f.since() >= from && f.since() < to {
			return t.ill(f.world)
		}
		return t.well(f.world)
	}
	there, during, answered := 0, 0, 0
	f.ended = func(i int, began, took time.Duration, r call.Reason) {
		all = append(all, took)
		if r == call.OK && took < time.Second {
			answered++
		}
		if began >= from && began < to {
			during++
			if i == 0 {
				there++
			}
		}
	}
	f.arrivals(1000, end, f.call)
	f.run(end + 3*time.Second)
	return all, share(there, during), share(answered, len(all))
}

// oneOfEleven is the measurement of "Beyond Round Robin: Load Balancing for
// Latency" (Buoyant, 2016): eleven instances, one of which takes two seconds.
var oneOfEleven = scenario{
	name: "one of 11 takes 2 s instead of 167 ms, 1 client",
	claims: []claim{
		{"calls under 1 s", ">= 0.998"},
		{"(calls under 1 s with round robin)", "<= 0.956"},
		{"(calls under 1 s with p2c)", ""},
	},
	run: func(seed uint64) []float64 {
		t := trouble{
			instances: 11, clients: 1,
			well: func(w *world) (time.Duration, call.Reason) {
				return w.between(162*time.Millisecond, 172*time.Millisecond), call.OK
			},
			ill: func(*world) (time.Duration, call.Reason) { return 2 * time.Second, call.OK },
		}
		_, _, good := t.minute(seed, balancer.PeakEWMA)
		figures := []float64{good}
		if compared(seed) {
			_, _, usual := t.minute(seed, balancer.RoundRobin)
			_, _, least := t.minute(seed, balancer.P2C)
			figures = append(figures, usual, least)
		}
		return figures
	},
}

// slowForMany has one of ten instances slow for a hundred clients, of whom each
// sees little of it: ten calls a second, of which one would go there.
var slowForMany = scenario{
	name: "one of 10 takes 200 ms instead of 10 ms, 100 clients",
	claims: []claim{
		{"its part of the traffic", "<= 0.015"},
		{"p99 over that of round robin, which is the 200 ms", "<= 0.35"},
		{"(p99 with round robin over 200 ms)", ">= 1"},
		{"(its part of the traffic with p2c)", ""},
		{"(p99 with p2c over 200 ms)", ""},
	},
	run: func(seed uint64) []float64 {
		const slow = 200 * time.Millisecond
		t := trouble{
			instances: 10, clients: 100,
			well: func(w *world) (time.Duration, call.Reason) {
				return 2*time.Millisecond + w.exp(8*time.Millisecond), call.OK
			},
			ill: func(*world) (time.Duration, call.Reason) { return slow, call.OK },
		}
		all, bad, _ := t.minute(seed, balancer.PeakEWMA)
		figures := []float64{bad, float64(quantile(all, 0.99)) / float64(slow)}
		if compared(seed) {
			all, _, _ = t.minute(seed, balancer.RoundRobin)
			usual := quantile(all, 0.99)
			all, bad, _ = t.minute(seed, balancer.P2C)
			figures = append(figures, float64(usual)/float64(slow), bad, float64(quantile(all, 0.99))/float64(slow))
		}
		return figures
	},
}

// oneOfTwo leaves a client nothing to compare an instance with but the other.
var oneOfTwo = scenario{
	name: "one of 2 fails at once for half a minute, 1 client",
	claims: []claim{
		{"calls that succeed", ">= 0.995"},
		{"its part of the traffic", "<= 0.005"},
		{"(calls that succeed with p2c)", ""},
	},
	run: func(seed uint64) []float64 {
		t := trouble{
			instances: 2, clients: 1,
			well: func(w *world) (time.Duration, call.Reason) {
				return w.between(10*time.Millisecond, 30*time.Millisecond), call.OK
			},
			ill: func(*world) (time.Duration, call.Reason) { return time.Millisecond, call.Unavailable },
		}
		_, bad, good := t.minute(seed, balancer.PeakEWMA)
		figures := []float64{good, bad}
		if compared(seed) {
			_, _, least := t.minute(seed, balancer.P2C)
			figures = append(figures, least)
		}
		return figures
	},
}
