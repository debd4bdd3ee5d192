package balancer_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/innermesh/innermesh/balancer"
)

// A report counts for some seconds; what is no report is none.
func TestReports(t *testing.T) {
	now := time.Hour
	m := new(balancer.Member)
	if got := m.Utilization(now); got != 0 {
		t.Errorf("before any: %v", got)
	}
	for _, odd := range []float64{0, -1, math.NaN(), math.Inf(-1)} {
		if m.Report(now, odd); m.Utilization(now) != 0 {
			t.Errorf("%v is taken for %v", odd, m.Utilization(now))
		}
	}
	m.Report(now, 0.5)
	for after, want := range map[time.Duration]float64{0: 0.5, 4 * time.Second: 0.5, 6 * time.Second: 0, -time.Millisecond: 0.5} {
		if got := m.Utilization(now + after); got != want {
			t.Errorf("%v after: %v, want %v", after, got, want)
		}
	}
}

// Who says that it is busy gets less of the traffic, if the picker goes by it.
func TestPeakEWMAGoesByReports(t *testing.T) {
	for reported, want := range map[bool][2]int{false: {400, 600}, true: {0, 100}} {
		all := []*balancer.Member{{}, {}, {}}
		for i, m := range all {
			for range 10 {
				m.Start(time.Second)
				m.Finish(time.Second, 10*time.Millisecond, 0, 0)
			}
			m.Report(time.Second, []float64{0.9, 0.1, 0.1}[i])
		}
		p, err := balancer.NewPool(balancer.Options{Policy: balancer.PeakEWMA, Reported: reported}, all)
		if err != nil {
			t.Fatal(err)
		}
		busy := 0
		luck := rand.New(rand.NewPCG(1, 2))
		for range 1500 {
			if p.Pick(balancer.Info{Now: time.Second, Luck: luck.Uint64() | 1}) == 0 {
				busy++
			}
		}
		if busy < want[0] || busy > want[1] {
			t.Errorf("reported %v: the busy one is picked %d times of 1500, want %v", reported, busy, want)
		}
	}
}
