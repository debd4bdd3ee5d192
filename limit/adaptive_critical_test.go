package limit_test

import (
	"testing"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/limit"
)

// A baseline that came out too low makes the limit so low that the critical calls
// alone are more than half of it, and then none seems to come without a queue.
// It must be measured again all the same.
func TestAdaptiveUnlearnsALowBaselineAmongCriticalCalls(t *testing.T) {
	a := limit.NewAdaptive("db", limit.AdaptiveOptions{Seed: 1})
	now := time.Hour
	for measuring := true; measuring; _, measuring = a.Baseline() {
		run(a, &now, 1, 1, constant(10*time.Millisecond), call.OK)
	}
	// From now on calls take four times as long. Each finds three others.
	const step = 10 * time.Millisecond
	var in []limit.Leave
	for end := now + 2*time.Minute; now < end; now += step {
		if len(in) == 4 {
			in[0].DoneAt(now, call.OK)
			in = in[1:]
		}
		l, err := a.EnterAt(now, limit.Critical)
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, l)
	}
	if base, _ := a.Baseline(); base != 4*step {
		t.Errorf("baseline %v after two minutes, want %v", base, 4*step)
	}
	if l := a.Limit(); l <= 4 {
		t.Errorf("the limit is still %d", l)
	}
}
