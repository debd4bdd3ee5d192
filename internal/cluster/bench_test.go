package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/policy"
)

// told is a source that tells what it is given, when it is given it.
type told struct {
	updates chan discovery.Update
	taken   chan struct{}
}

func (s told) Watch(ctx context.Context, _ string, tell func(discovery.Update)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case u := <-s.updates:
			tell(u)
			s.taken <- struct{}{}
		}
	}
}

func (s told) tell(all []discovery.Instance) {
	s.updates <- discovery.Update{Snapshot: discovery.Snapshot{Instances: all}}
	<-s.taken
}

// fleet are n instances in order, in three zones.
func fleet(n int) []discovery.Instance {
	all := make([]discovery.Instance, n)
	for i := range all {
		all[i] = discovery.Instance{
			ID: fmt.Sprintf("web-%05d", i), Address: fmt.Sprintf("10.0.%d.%d:80", i/250, i%250), Region: "r", Zone: fmt.Sprint("z", i%3),
		}
	}
	return all
}

func opened(tb testing.TB, n int, s policy.Service, where ...func(*cluster.Options)) (*cluster.Cluster, told) {
	tb.Helper()
	source := told{make(chan discovery.Update), make(chan struct{})}
	c := openWith(tb, source, s, where...)
	tb.Cleanup(c.Close)
	source.tell(fleet(n))
	return c, source
}

// BenchmarkPick is a pick and its finish. Goal: 60 ns and no allocation, however
// many instances there are.
func BenchmarkPick(b *testing.B) {
	for _, n := range []int{3, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, _ := opened(b, n, policy.Service{Balancer: policy.Balancer{Policy: policy.PeakEWMA, SubsetAbove: -1}})
			now := mono.Now()
			b.ReportAllocs()
			for b.Loop() {
				p, err := c.View().Pick(balancer.Info{Now: now})
				if err != nil {
					b.Fatal(err)
				}
				now += 1000
				p.Judge(now, time.Millisecond, call.Outcome{})
				p.Release()
			}
		})
	}
}

// BenchmarkChange is an update in which one of 10,000 instances is not as before.
// Goal: 0.1 ms and 20 allocations.
func BenchmarkChange(b *testing.B) {
	all := fleet(10_000)
	sick := slices.Clone(all)
	sick[5000].Health = discovery.Critical
	heavy := slices.Clone(all)
	heavy[5000].Weight = 7
	for _, subset := range []int{-1, 100} {
		for name, other := range map[string][]discovery.Instance{
			"left": slices.Delete(slices.Clone(all), 5000, 5001), "critical": sick, "weight": heavy,
		} {
			b.Run(fmt.Sprintf("%s/above=%d", name, subset), func(b *testing.B) {
				c, source := opened(b, 10_000, policy.Service{Balancer: policy.Balancer{SubsetAbove: subset}})
				_ = c
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					source.tell([][]discovery.Instance{other, all}[i%2])
				}
			})
		}
	}
}
