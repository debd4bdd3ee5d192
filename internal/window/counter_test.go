package window_test

import (
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/internal/window"
)

// The counter never tells more than the span saw, nor less than the span
// without its oldest bucket.
func TestSumStaysWithinTheSpan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const buckets, width = 5, time.Second
		c := window.New(buckets*width, buckets)
		type event struct{ at time.Duration }
		var events []event
		now := time.Duration(0)
		for range rapid.IntRange(1, 200).Draw(t, "events") {
			now += time.Duration(rapid.Int64Range(0, int64(2*width)).Draw(t, "gap"))
			c.Add(now, 1)
			events = append(events, event{now})
		}
		now += time.Duration(rapid.Int64Range(0, int64(7*width)).Draw(t, "rest"))
		var least, most int64
		for _, e := range events {
			if now-e.at < buckets*width {
				most++
			}
			if now-e.at <= (buckets-1)*width {
				least++
			}
		}
		if got := c.Sum(now); got < least || got > most {
			t.Fatalf("sum at %v: got %d, want %d to %d", now, got, least, most)
		}
	})
}

func TestAddFromManyGoroutines(t *testing.T) {
	c := window.New(10*time.Second, 10)
	c.Add(0, 0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				c.Add(0, 1)
			}
		})
	}
	wg.Wait()
	if got := c.Sum(0); got != 8000 {
		t.Errorf("sum = %d, want 8000", got)
	}
}

func BenchmarkAdd(b *testing.B) {
	c := window.New(10*time.Second, 10)
	b.ReportAllocs()
	for b.Loop() {
		c.Add(time.Second, 1)
	}
}
