package breaker_test

import (
	"fmt"
	"time"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/call"
)

func ExampleNewOutliers() {
	watch := breaker.NewOutliers(breaker.OutlierOptions{Jitter: -1}, func(e breaker.Ejection) {
		fmt.Println(e.Instance, e.Cause)
	})
	instances := []*breaker.Watched{watch.Watch("a"), watch.Watch("b"), watch.Watch("c")}
	now := time.Hour // on any one clock
	for range 5 {
		instances[0].Record(now, call.Unreachable)
		instances[1].Record(now, call.OK)
	}
	now += 30 * time.Second
	instances[0].Record(now, call.OK)
	// Output:
	// a failures_in_row
	// a returned
}
