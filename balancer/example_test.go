package balancer_test

import (
	"fmt"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
)

func ExampleNewPool() {
	members := []*balancer.Member{new(balancer.Member), new(balancer.Member)}
	pool, err := balancer.NewPool(balancer.Options{Policy: balancer.PeakEWMA}, members)
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Hour // on any one clock
	for range 100 {
		m := members[pool.Pick(balancer.Info{Now: now})]
		m.Start(now)
		took, reason := 10*time.Millisecond, call.OK
		if m == members[0] {
			took, reason = time.Millisecond, call.Unavailable // fails, and fast
		}
		now += took
		m.Finish(now, took, reason, 0)
	}
	fmt.Println("the first is taken for", members[0].Latency(now).Round(time.Second))
	fmt.Println("the second for", members[1].Latency(now).Round(time.Millisecond))
	// Output:
	// the first is taken for 5s
	// the second for 10ms
}

func ExampleSubset() {
	ids := make([]uint64, 1000)
	for i := range ids {
		ids[i] = balancer.Hash(fmt.Sprintf("instance-%d", i))
	}
	size := balancer.SubsetSize(len(ids), 5000)
	fmt.Println(len(balancer.Subset(ids, balancer.Seat(7), size)), "of", len(ids))
	// Output: 20 of 1000
}
