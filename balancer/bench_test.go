package balancer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
)

// sizes are how many instances the benchmarks have.
var sizes = []int{3, 10, 100, 1_000, 10_000}

// A pick and the end of its attempt, without reading the clock: the path of a
// call has read it anyway.
func BenchmarkPick(b *testing.B) {
	eachPolicy(b, func(b *testing.B, picker balancer.Picker, members []*balancer.Member) {
		attempt := attempts(picker, members)
		b.ReportAllocs()
		for b.Loop() {
			attempt()
		}
	})
}

func BenchmarkPickParallel(b *testing.B) {
	eachPolicy(b, func(b *testing.B, picker balancer.Picker, members []*balancer.Member) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			attempt := attempts(picker, members)
			for pb.Next() {
				attempt()
			}
		})
	})
}

// One of many instances leaves and another comes.
func BenchmarkChange(b *testing.B) {
	for _, policy := range policies {
		b.Run(string(policy), func(b *testing.B) {
			const n = 10_000
			members := newMembers(n + 1)
			pool, err := balancer.NewPool(balancer.Options{Policy: policy}, members[:n])
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := pool.Change(members[n/2:n/2+1], members[n:]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, policy := range policies {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", policy, n), func(b *testing.B) {
				members := newMembers(n)
				b.ReportAllocs()
				for b.Loop() {
					build(b, policy, members)
				}
			})
		}
	}
}

func eachPolicy(b *testing.B, run func(*testing.B, balancer.Picker, []*balancer.Member)) {
	b.Helper()
	for _, policy := range policies {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", policy, n), func(b *testing.B) {
				members := newMembers(n)
				if policy == balancer.WeightedRoundRobin {
					for i, m := range members {
						m.SetWeight(1 + i%3)
					}
				}
				run(b, build(b, policy, members), members)
			})
		}
	}
}

// attempts returns one goroutine's way to pick and finish.
func attempts(picker balancer.Picker, members []*balancer.Member) func() {
	now, key := time.Hour, uint64(1)
	return func() {
		now += 100 * time.Microsecond
		key++
		m := members[picker.Pick(balancer.Info{Now: now, Key: key})]
		m.Start(now)
		m.Finish(now+5*time.Millisecond, 5*time.Millisecond+time.Duration(key&1023), call.OK, 0)
	}
}
