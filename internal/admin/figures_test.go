package admin

import (
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/window"
)

// Figures are those of the last samples, whatever was before.
func TestFigures(t *testing.T) {
	f := figures{of: make(map[string]*past)}
	var h window.Histogram
	now, total := time.Now(), Totals{Service: "orders"}
	step := func(calls, failed int, took time.Duration) {
		for range calls {
			h.Record(took)
		}
		total.Calls += uint64(calls)
		total.Failed += uint64(failed)
		total.Took = h.Counts()
		f.take(now, []Totals{total})
		now = now.Add(2 * time.Second)
	}
	step(5, 5, time.Second)
	if got := f.past("orders"); len(got) != 0 {
		t.Fatalf("one sample says %+v: there is nothing yet to compare it with", got)
	}
	for range 10 {
		step(200, 0, time.Second)
	}
	for range 5 {
		step(400, 40, 10*time.Millisecond)
	}
	got := latest(f.past("orders"))
	if got.Rate != 200 || got.Errors != 0.1 || time.Duration(got.P99) > 15*time.Millisecond || !got.Known {
		t.Errorf("got %+v; want 200 calls a second, a tenth failed, 10 ms", got)
	}
	for range 200 {
		step(0, 0, 0)
	}
	points := f.past("orders")
	if got := latest(points); got.Rate != 0 || got.Errors != 0 || got.P99 != 0 || len(points) != remembered {
		t.Errorf("when nothing comes: %+v, and %d points", got, len(points))
	}
	f.take(now, nil)
	if got := f.past("orders"); got != nil {
		t.Error("an upstream that was let go is still remembered")
	}
}

// An upstream that was let go and called again begins anew.
func TestFiguresBeginAnew(t *testing.T) {
	f := figures{of: make(map[string]*past)}
	now := time.Now()
	for i, calls := range []uint64{1000, 2000, 10, 20} {
		f.take(now.Add(time.Duration(i)*time.Second), []Totals{{Service: "orders", Calls: calls}})
	}
	if got := latest(f.past("orders")); got.Rate != 10 {
		t.Errorf("%v calls a second, want 10", got.Rate)
	}
}
