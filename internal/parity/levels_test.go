package parity_test

import (
	"math"
	"testing"

	"github.com/innermesh/innermesh/internal/parity"
)

// The examples are those of Envoy's documentation, but for its rounding.
func TestShares(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		percent []int // healthy
		panic   float64
		want    []float64
	}{
		{percent: []int{100, 100}, want: []float64{1, 0}},
		{percent: []int{72, 100}, want: []float64{1, 0}},
		{percent: []int{71, 100}, want: []float64{0.994, 0.006}},
		{percent: []int{50, 100}, want: []float64{0.7, 0.3}},
		{percent: []int{25, 100}, want: []float64{0.35, 0.65}},
		{percent: []int{25, 25}, want: []float64{0.5, 0.5}},
		{percent: []int{25, 25, 20}, want: []float64{0.357142, 0.357142, 0.285714}},
		{percent: []int{0, 25}, want: []float64{0, 1}},
		{percent: []int{0, 25}, panic: 50, want: []float64{0.5, 0.5}}, // all have a hundred instances
		{percent: []int{50, 10}, panic: 50, want: []float64{0.833333, 0.166666}},
		{percent: []int{40, 40}, panic: 50, want: []float64{0.56, 0.44}}, // together they carry everything
		{percent: []int{0, 0}, want: []float64{0, 0}},
		{percent: []int{0, 0}, panic: 50, want: []float64{0.5, 0.5}},
		{percent: []int{-1, 10}, want: []float64{0, 1}},
		{percent: []int{-1}, panic: 50, want: []float64{0}},
	} {
		cluster := parity.Cluster{PanicThreshold: c.panic}
		for _, p := range c.percent {
			var l parity.Level
			for i := range 100 {
				if p >= 0 {
					l.Endpoints = append(l.Endpoints, parity.Endpoint{Healthy: i < p})
				}
			}
			cluster.Levels = append(cluster.Levels, l)
		}
		for i, got := range cluster.Shares() {
			if math.Abs(got-c.want[i]) > 1e-5 {
				t.Errorf("%d %% healthy, panic below %v: level %d has %v, want %v", c.percent, c.panic, i, got, c.want[i])
			}
		}
	}
}
