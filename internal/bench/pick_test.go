package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/leastrequest"
	"google.golang.org/grpc/balancer/roundrobin"
	"google.golang.org/grpc/balancer/weightedroundrobin"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
)

var sizes = []int{3, 10, 100, 1_000, 10_000}

// BenchmarkPick is a pick and the end of its attempt: ours, the floor (two draws
// with counters) and grpc-go's.
func BenchmarkPick(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("ours/peak_ewma/%d", n), func(b *testing.B) { ours(b, balancer.PeakEWMA, n, time.Time{}) })
		b.Run(fmt.Sprintf("ours/peak_ewma+clock/%d", n), func(b *testing.B) { ours(b, balancer.PeakEWMA, n, time.Now()) })
		b.Run(fmt.Sprintf("ours/least_request/%d", n), func(b *testing.B) { ours(b, balancer.LeastRequest, n, time.Time{}) })
		b.Run(fmt.Sprintf("ours/weighted_round_robin/%d", n), func(b *testing.B) { ours(b, balancer.WeightedRoundRobin, n, time.Time{}) })
		b.Run(fmt.Sprintf("ours/round_robin/%d", n), func(b *testing.B) { ours(b, balancer.RoundRobin, n, time.Time{}) })
		for _, name := range []string{leastrequest.Name, weightedroundrobin.Name, roundrobin.Name} {
			if n > 1_000 { // every connection makes a picker anew: minutes
				continue
			}
			b.Run(fmt.Sprintf("grpc/%s/%d", name, n), func(b *testing.B) { theirs(b, name, n) })
		}
	}
}

// BenchmarkChange has one of many instances leave and another come.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("ours/peak_ewma/%d", n), func(b *testing.B) {
			members := newMembers(n + 1)
			pool, err := balancer.NewPool(balancer.Options{Policy: balancer.PeakEWMA}, members[:n])
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
	for _, name := range []string{leastrequest.Name, roundrobin.Name} {
		b.Run(fmt.Sprintf("grpc/%s/%d", name, 1_000), func(b *testing.B) {
			cc := newChannel(b, name, 1_000)
			b.ReportAllocs()
			for turn := 0; b.Loop(); turn++ {
				cc.update(b, 1_000-turn%2)
			}
		})
	}
}

func newMembers(n int) []*balancer.Member {
	members := make([]*balancer.Member, n)
	for i := range members {
		members[i] = new(balancer.Member)
		members[i].SetWeight(1)
	}
	return members
}

// ours reads the clock twice a call if epoch is set.
func ours(b *testing.B, policy balancer.Policy, n int, epoch time.Time) {
	members := newMembers(n)
	if policy == balancer.WeightedRoundRobin {
		for i, m := range members {
			m.SetWeight(1 + i%3)
		}
	}
	picker, err := balancer.New(policy, members)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Hour
	b.ReportAllocs()
	for b.Loop() {
		if now += 100 * time.Microsecond; !epoch.IsZero() {
			now = time.Since(epoch)
		}
		m := members[picker.Pick(balancer.Info{Now: now})]
		m.Start(now)
		if !epoch.IsZero() {
			now = time.Since(epoch)
		}
		m.Finish(now, 5*time.Millisecond, call.OK, 0)
	}
}

func theirs(b *testing.B, name string, n int) {
	picker := newChannel(b, name, n).picker
	info := grpcbalancer.PickInfo{FullMethodName: "/s/m", Ctx: context.Background()}
	b.ReportAllocs()
	for b.Loop() {
		result, err := picker.Pick(info)
		if err != nil {
			b.Fatal(err)
		}
		if result.Done != nil {
			result.Done(grpcbalancer.DoneInfo{})
		}
	}
}
