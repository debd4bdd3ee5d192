package sim

import (
	"fmt"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
)

// fleet is a service with its clients, each of which balances for itself.
type fleet struct {
	*world
	servers []*server
	clients []*client
	// work says what an instance does with a call that comes now.
	work func(instance int) (time.Duration, call.Reason)
	// report says how much of what it can carry an instance carries; nil: none tells.
	report func(instance int) float64
	// ended hears of every call.
	ended func(instance int, began, took time.Duration, r call.Reason)
}

type client struct {
	members []*balancer.Member
	picker  balancer.Picker
}

func newFleet(w *world, policy balancer.Policy, instances, clients int) *fleet {
	return newFleetOf(w, balancer.Options{Policy: policy}, instances, clients)
}

func newFleetOf(w *world, o balancer.Options, instances, clients int) *fleet {
	f := &fleet{world: w}
	for range instances {
		f.servers = append(f.servers, &server{world: w})
	}
	for range clients {
		c := &client{}
		for i := range instances {
			m := new(balancer.Member)
			m.SetID(fmt.Sprint(i))
			c.members = append(c.members, m)
		}
		picker, err := balancer.NewPool(o, c.members)
		if err != nil {
			panic(err)
		}
		c.picker = picker
		f.clients = append(f.clients, c)
	}
	return f
}

// call has some client make a call.
func (f *fleet) call() {
	c := f.clients[f.IntN(len(f.clients))]
	i := c.picker.Pick(balancer.Info{Now: f.now, Luck: f.Uint64() | 1})
	m, began := c.members[i], f.now
	m.Start(began)
	work, r := f.work(i)
	f.servers[i].serve(work, func() {
		took := f.now - began
		m.Finish(f.now, took, r, 0)
		if f.report != nil {
			m.Report(f.now, f.report(i))
		}
		f.ended(i, began-start, took, r)
	})
}

// rate is how many calls a second all clients make together. Many clients must
// make more for each to make any.
func rate(clients int) float64 {
	if clients == 1 {
		return 400
	}
	return 1000
}

// slowInstance has one of 20 instances ten times slower than the others from the
// 5th to the 35th second.
func slowInstance(clients int) scenario {
	const (
		instances = 20
		from      = 5 * time.Second
		to        = 35 * time.Second
	)
	// run returns the latencies while it is slow, its share then, and its share
	// from 30 s after it has healed on.
	run := func(seed uint64, policy balancer.Policy, length time.Duration) (p99 time.Duration, bad, healed float64) {
		f := newFleet(newWorld(seed), policy, instances, clients)
		f.work = func(i int) (time.Duration, call.Reason) {
			work := f.between(5*time.Millisecond, 15*time.Millisecond)
			if i == 0 && f.since() >= from && f.since() < to {
				work *= 10
			}
			return work, call.OK
		}
		var all []time.Duration
		var slow, back, after int
		f.ended = func(i int, began, took time.Duration, _ call.Reason) {
			switch {
			case began >= from && began < to:
				all = append(all, took)
				if i == 0 {
					slow++
				}
			case began >= to+30*time.Second:
				after++
				if i == 0 {
					back++
				}
			}
		}
		f.arrivals(rate(clients), length, f.call)
		f.run(length + time.Second)
		return quantile(all, 0.99), share(slow, len(all)), share(back*instances, after)
	}
	return scenario{
		name: fmt.Sprintf("one of 20 is 10x slower, %d clients", clients),
		claims: []claim{
			{"p99 over that of round robin", "<= 0.25"},
			{"its part of the traffic", "< 0.01"},
			{"its share 30 s after healing", ">= 0.8"},
			{"(p99 with p2c over round robin)", ""},
			{"(its part of the traffic with p2c)", ""},
		},
		run: func(seed uint64) []float64 {
			usual, _, _ := run(seed, balancer.RoundRobin, from+5*time.Second)
			p99, bad, healed := run(seed, balancer.PeakEWMA, to+50*time.Second)
			figures := []float64{float64(p99) / float64(usual), bad, healed}
			if compared(seed) {
				least, bad, _ := run(seed, balancer.P2C, to)
				figures = append(figures, float64(least)/float64(usual), bad)
			}
			return figures
		},
	}
}

// evenFleet has nobody in trouble, but answers that differ widely: peaks that
// mean nothing must not send the traffic elsewhere.
var evenFleet = scenario{
	name: "all are well, answers vary widely",
	claims: []claim{
		{"the busiest instance's share", "<= 1.3"},
		{"p99 over that of p2c", "<= 1.2"},
	},
	run: func(seed uint64) []float64 {
		run := func(policy balancer.Policy) (busiest float64, p99 time.Duration) {
			f := newFleet(newWorld(seed), policy, 10, 1)
			for _, s := range f.servers {
				s.workers = 4
			}
			f.work = func(int) (time.Duration, call.Reason) {
				work := 2*time.Millisecond + f.exp(8*time.Millisecond)
				if f.Float64() < 0.005 {
					work += 100 * time.Millisecond
				}
				return work, call.OK
			}
			count, calls := make([]int, 10), 0
			var all []time.Duration
			f.ended = func(i int, _, took time.Duration, _ call.Reason) {
				count[i]++
				calls++
				all = append(all, took)
			}
			f.arrivals(2000, 10*time.Second, f.call)
			f.run(11 * time.Second)
			for _, n := range count {
				busiest = max(busiest, share(10*n, calls))
			}
			return busiest, quantile(all, 0.99)
		}
		busiest, p99 := run(balancer.PeakEWMA)
		_, least := run(balancer.P2C)
		return []float64{busiest, float64(p99) / float64(least)}
	},
}

// failingFast has one instance answer 503 after a millisecond.
func failingFast(instances, clients int) scenario {
	goal := fmt.Sprintf("< %.4g", 1/float64(5*instances))
	if instances == 2 {
		goal = "< 0.01"
	}
	return scenario{
		name: fmt.Sprintf("one of %d fails at once, %d clients", instances, clients),
		claims: []claim{
			{"its part of the traffic", goal},
			{"(its part of the traffic with p2c)", ""},
		},
		run: func(seed uint64) []float64 {
			run := func(policy balancer.Policy) float64 {
				f := newFleet(newWorld(seed), policy, instances, clients)
				f.work = func(i int) (time.Duration, call.Reason) {
					if i == 0 {
						return time.Millisecond, call.Unavailable
					}
					return f.between(10*time.Millisecond, 30*time.Millisecond), call.OK
				}
				bad, calls := 0, 0
				f.ended = func(i int, _, _ time.Duration, _ call.Reason) {
					calls++
					if i == 0 {
						bad++
					}
				}
				f.arrivals(rate(clients), 60*time.Second, f.call)
				f.run(61 * time.Second)
				return share(bad, calls)
			}
			figures := []float64{run(balancer.PeakEWMA)}
			if compared(seed) {
				figures = append(figures, run(balancer.P2C))
			}
			return figures
		},
	}
}
