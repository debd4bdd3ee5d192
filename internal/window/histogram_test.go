package window_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/internal/window"
)

// A quantile is never below the true one and at most a quarter above it.
func TestQuantileIsWithinAQuarter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h window.Histogram
		all := rapid.SliceOfN(rapid.Int64Range(0, int64(30*time.Minute)), 1, 200).Draw(t, "durations")
		for _, d := range all {
			h.Record(time.Duration(d))
		}
		slices.Sort(all)
		for _, q := range []float64{0.5, 0.9, 0.99, 1} {
			rank := max(int(q*float64(len(all))+0.5), 1)
			want := time.Duration(all[rank-1])
			if got := h.Quantile(q); got < want || got > want+want/4+2*time.Microsecond {
				t.Fatalf("quantile %v = %v, true is %v", q, got, want)
			}
		}
	})
}

func TestQuantileOfNothing(t *testing.T) {
	var h window.Histogram
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("got %v", got)
	}
}
