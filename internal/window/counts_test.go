package window_test

import (
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/window"
)

// What came between two moments has quantiles of its own: a slow past is
// forgotten.
func TestCountsSince(t *testing.T) {
	var h window.Histogram
	for range 1000 {
		h.Record(time.Second)
	}
	before := h.Counts()
	for i := range 100 {
		h.Record(time.Duration(i+1) * time.Millisecond)
	}
	now := h.Counts()
	lately := now.Since(&before)
	if n := lately.Total(); n != 100 {
		t.Errorf("%d came between, want 100", n)
	}
	if q := lately.Quantile(0.5); q < 50*time.Millisecond || q > 63*time.Millisecond {
		t.Errorf("median of what came between is %v, want about 50 ms", q)
	}
	if q := now.Quantile(0.5); q < time.Second {
		t.Errorf("median of all is %v, want a second", q)
	}
	if none := before.Since(&now); none.Total() != 0 || none.Quantile(0.5) != 0 {
		t.Errorf("counts that went back are %d, with the median %v", none.Total(), none.Quantile(0.5))
	}
}
