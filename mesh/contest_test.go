package mesh_test

import (
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// contest runs the same call in several ways, in turns within one run, as
// absolute times say nothing on a busy machine.
type contest struct {
	callers, round int  // how many at a time, and how many calls in a turn
	latency        bool // the time of each call is kept
}

// way is one way of making the call.
type way struct {
	name string
	call func()
}

// side is what one turn of a way has cost, in all.
type side struct {
	wall, cpu, p50 time.Duration
	mallocs, bytes uint64
}

// run reports what a call costs through the mesh, and beside each rival: how
// many allocations more, and how many times its time, processor time (of the
// whole process, where the servers run too) or median latency. A ratio is the
// median over all rounds of what the two cost in the same round.
func (c contest) run(b *testing.B, mesh func(), rivals ...way) {
	b.Helper()
	ways := append([]way{{"mesh", mesh}}, rivals...)
	turns := make([][]side, len(ways))
	for _, w := range ways {
		c.turn(w.call) // connections are made, ways are found
	}
	for n := 0; b.Loop(); n++ {
		for i := range ways {
			i = (i + n) % len(ways) // nobody always follows the same one
			turns[i] = append(turns[i], c.turn(ways[i].call))
		}
	}
	own := func(of func(side) float64) float64 { return median(turns[0], of) / float64(c.calls()) }
	b.ReportMetric(own(wall), "ns/op")
	b.ReportMetric(own(func(s side) float64 { return float64(s.bytes) }), "B/op")
	b.ReportMetric(own(mallocs), "allocs/op")
	for i, w := range rivals {
		i++
		b.ReportMetric(own(mallocs)-median(turns[i], mallocs)/float64(c.calls()), "+allocs/"+w.name)
		b.ReportMetric(ratio(turns[0], turns[i], cpu), "×cpu/"+w.name)
		if c.latency {
			b.ReportMetric(ratio(turns[0], turns[i], p50), "×p50/"+w.name)
		} else {
			b.ReportMetric(ratio(turns[0], turns[i], wall), "×time/"+w.name)
		}
	}
}

// calls is how many there are in a turn.
func (c contest) calls() int { return c.round / c.callers * c.callers }

// turn makes the calls of one round in one way.
func (c contest) turn(call func()) side {
	latencies := make([]time.Duration, 0, c.round)
	many := func() {
		for range c.round / c.callers {
			call()
		}
	}
	if c.latency { // one caller, then
		many = func() {
			for range c.round {
				begin := time.Now()
				call()
				latencies = append(latencies, time.Since(begin))
			}
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	used, start := cpuTime(), time.Now()
	var wg sync.WaitGroup
	for range c.callers {
		wg.Go(many)
	}
	wg.Wait()
	s := side{wall: time.Since(start), cpu: cpuTime() - used}
	runtime.ReadMemStats(&after)
	s.mallocs, s.bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	if c.latency {
		slices.Sort(latencies)
		s.p50 = latencies[len(latencies)/2]
	}
	return s
}

func wall(s side) float64    { return float64(s.wall) }
func cpu(s side) float64     { return float64(s.cpu) }
func p50(s side) float64     { return float64(s.p50) }
func mallocs(s side) float64 { return float64(s.mallocs) }

func median[T any](all []T, of func(T) float64) float64 {
	values := make([]float64, len(all))
	for i, v := range all {
		values[i] = of(v)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// ratio is the median of a's cost over b's in the same round.
func ratio(a, b []side, of func(side) float64) float64 {
	rounds := make([]float64, len(a))
	for i := range a {
		rounds[i] = of(a[i]) / of(b[i])
	}
	return median(rounds, func(r float64) float64 { return r })
}

// cpuTime is what all threads of the process have used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
