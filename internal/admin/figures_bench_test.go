package admin

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/window"
)

// What it costs to keep the past of a thousand upstreams: time for each sample of
// one, and memory once all points are there. docs/admin.md has the figures.
func BenchmarkFigures(b *testing.B) {
	const upstreams = 1000
	var took window.Histogram
	names := make([]string, upstreams)
	for i := range names {
		names[i] = fmt.Sprintf("service-%04d", i)
	}
	f := figures{of: make(map[string]*past)}
	all := make([]Totals, upstreams)
	now, calls := time.Now(), uint64(0)
	step := func() {
		took.Record(time.Duration(calls%500) * time.Millisecond)
		calls++
		for i := range all {
			all[i] = Totals{Service: names[i], Calls: calls, Took: took.Counts()}
		}
		now = now.Add(2 * time.Second)
		f.take(now, all)
	}
	before := held()
	for range 2 * remembered {
		step()
	}
	grown := held() - before
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/upstreams, "ns/upstream")
	b.ReportMetric(float64(grown)/upstreams, "B/upstream")
}

func held() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
