package window

import (
	"testing"
	"time"
)

func TestRolling(t *testing.T) {
	const ms = time.Millisecond
	r := NewRolling(10*time.Second, 0.95, 100)
	now := time.Hour
	record := func(n int, d time.Duration) {
		for range n {
			r.Record(now, d)
		}
	}
	about := func(want time.Duration) {
		t.Helper()
		now += 100 * ms // it is reckoned now and then
		if got := r.Quantile(now); got < want || got > want*5/4 {
			t.Errorf("%v, want about %v", got, want)
		}
	}
	if record(99, 10*ms); r.Quantile(now) != 0 {
		t.Error("99 are too few to know")
	}
	record(96, 10*ms)
	record(10, 500*ms)
	about(10 * ms)
	record(10, 500*ms)
	about(500 * ms)
	now += 10 * time.Second
	record(300, 20*ms)
	about(20 * ms) // the span before still counts, but 20 of 505 are few
	now += 10 * time.Second
	record(100, 30*ms)
	about(30 * ms)
	now += 30 * time.Second
	if got := r.Quantile(now); got != 0 {
		t.Errorf("%v, although nothing came for long", got)
	}
}

func TestRollingCostsNoAllocation(t *testing.T) {
	r := NewRolling(time.Hour, 0.95, 1)
	now := time.Hour
	r.Record(now, 1)
	if n := testing.AllocsPerRun(1000, func() { r.Record(now, time.Millisecond); now++; r.Quantile(now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
