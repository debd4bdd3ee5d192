package limit

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
)

// Adaptive finds out how many calls the other side can carry at once, and sheds
// the rest, the least important first. It serves in front of an upstream as well
// as in front of a handler. Safe for concurrent use; Enter and Done take no lock.
//
// It is a gradient, after Envoy's adaptive concurrency: the limit shrinks as the
// median latency grows over that of the unloaded side, and grows by its root
// otherwise, so that there is always a short queue. How long answers take without
// load is measured now and then, while few calls are let in: nothing that is
// learned under load, such as a minimum or a long average, can tell a queue that
// never empties from slow work, and limits built on those drift away. Calls that
// began before the measuring do not count, for they waited in the queue.
// [Critical] calls are let in even then, and count if they found less than half of
// the limit under way, or less than all of it where the last measuring found too few
// of those.
type Adaptive struct {
	name    string
	options AdaptiveOptions

	inflight atomic.Int64
	peak     atomic.Int64 // of inflight since the last step
	limit    atomic.Int64
	pin      atomic.Int64 // how many may be under way while measuring, else 0
	calm     atomic.Int64 // below how many a call finds no queue while measuring
	// generation counts beginnings and ends of measuring; a sample belongs to
	// that in which its call began.
	generation atomic.Uint32

	samples [samples]atomic.Int64
	count   atomic.Int64 // of samples, may exceed their number
	pushed  atomic.Int64 // answers that asked for less
	due     atomic.Int64 // the next step

	mu       sync.Mutex // one step at a time
	exact    float64    // the limit before rounding
	baseline float64    // the median latency without load in nanoseconds, 0 is unknown
	times    int        // how often that was measured, as far as it counts
	missed   bool       // the last measuring found too few calls
	measure  time.Duration
	began    time.Duration
	dice     uint64
	scratch  [samples]int64
}

// samples is how many latencies make a median at most. More change it little.
const samples = 256

// NewAdaptive returns a limit that measures first; name appears in errors.
func NewAdaptive(name string, o AdaptiveOptions) *Adaptive {
	o = o.withDefaults()
	a := &Adaptive{name: name, options: o, exact: float64(o.Initial), dice: o.Seed}
	a.limit.Store(int64(o.Initial))
	a.pin.Store(int64(min(o.Probe, o.Initial)))
	a.calm.Store(int64(max(min(o.Probe, o.Initial), o.Initial/2)))
	a.due.Store(unset)
	return a
}

// unset says that no clock was read yet.
const unset = math.MinInt64

// Enter admits a call or returns an [*OverloadError]. It never waits; a call
// whose ctx has ended is not admitted.
func (a *Adaptive) Enter(ctx context.Context, p Priority) (Leave, error) {
	if ctx.Err() != nil {
		return Leave{}, context.Cause(ctx)
	}
	return a.EnterAt(mono.Now(), p)
}

// EnterAt is Enter at a moment, on any one clock.
func (a *Adaptive) EnterAt(now time.Duration, p Priority) (Leave, error) {
	if a.due.Load() == unset {
		a.begin(now)
	}
	generation, pin, limit := a.generation.Load(), a.pin.Load(), a.limit.Load()
	most := p.of(limit)
	if pin > 0 && p != Critical {
		most = min(most, pin)
	}
	for {
		n := a.inflight.Load()
		if n >= most {
			return Leave{}, &OverloadError{Name: a.name, Limit: int(most), Priority: p}
		}
		if a.inflight.CompareAndSwap(n, n+1) {
			if n+1 > a.peak.Load() {
				a.peak.Store(n + 1)
			}
			return Leave{from: a, began: now, generation: generation, calm: pin == 0 || n < a.calm.Load()}, nil
		}
	}
}

// Limit returns how many calls of [Default] priority may be under way.
func (a *Adaptive) Limit() int { return int(a.limit.Load()) }

// Inflight returns how many calls are under way.
func (a *Adaptive) Inflight() int { return int(a.inflight.Load()) }

// Baseline returns how long answers take without load, 0 if that was not
// measured yet, and whether it is being measured.
func (a *Adaptive) Baseline() (latency time.Duration, measuring bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Duration(a.baseline), a.pin.Load() > 0
}

// begin starts the clock.
func (a *Adaptive) begin(now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.due.Load() == unset {
		a.began = now
		a.due.Store(int64(now + a.options.Window))
	}
}

func (a *Adaptive) leave(l Leave, now time.Duration, r call.Reason) {
	a.inflight.Add(-1)
	switch r {
	case call.OK, call.Expired, call.TryTimeout:
		a.sample(l, now-l.began)
	case call.Throttled, call.Unavailable:
		a.pushed.Add(1)
	default:
		// Failures are fast or slow for other reasons, and a call that nobody
		// waited for might have taken longer.
	}
	if int64(now) >= a.due.Load() || a.pin.Load() > 0 && a.count.Load() >= int64(a.options.ProbeCalls) {
		a.step(now)
	}
}

func (a *Adaptive) sample(l Leave, took time.Duration) {
	if !l.calm || l.generation != a.generation.Load() {
		return
	}
	if i := a.count.Add(1); i <= samples {
		a.samples[i-1].Store(int64(max(took, 1)))
	}
}

// step draws the conclusions of a window, or of having measured.
func (a *Adaptive) step(now time.Duration) {
	if !a.mu.TryLock() {
		return // another is at it
	}
	defer a.mu.Unlock()
	switch n := a.count.Load(); {
	case a.pin.Load() > 0:
		a.measured(now, n)
	case int64(now) < a.due.Load() || n+a.pushed.Load() < minSamples:
	case n < enoughSamples && int64(now) < a.due.Load()+9*int64(a.options.Window):
	default:
		a.adjust()
		a.clear()
		a.due.Store(int64(now + a.options.Window))
		if now >= a.measure {
			a.begun(now)
		}
	}
}

const (
	// minSamples is how many latencies make a median at least.
	minSamples = 20
	// enoughSamples make one that is off by a seventh at most, as a rule. For
	// that many a window may last ten times as long.
	enoughSamples = 50
)

// adjust moves the limit.
func (a *Adaptive) adjust() {
	pushed, n := float64(a.pushed.Load()), a.count.Load()
	gradient := 2.0
	if n > 0 && a.baseline > 0 {
		gradient = a.baseline * (1 + a.options.Tolerance) / a.median()
	}
	next := a.exact * min(max(gradient, 0.5), 2)
	if pushed > 0.1*(pushed+float64(n)) {
		next = min(next, 0.9*a.exact) // asked for less, whatever the latency
	} else {
		next += math.Sqrt(next)
	}
	// What was never tried is not known to be carried: without this the limit
	// climbs to its maximum at light load, and the first burst goes through.
	if next > a.exact {
		next = max(min(next, growth*float64(a.peak.Load())), a.exact)
	}
	a.exact = min(max(next, float64(a.options.Min)), float64(a.options.Max))
	a.limit.Store(int64(a.exact))
	a.peak.Store(a.inflight.Load())
}

// growth is how many times what was under way the limit may grow to.
const growth = 5

// begun lets few calls in, to measure.
func (a *Adaptive) begun(now time.Duration) {
	a.began = now
	// A quarter of the limit leaves the queue empty and finds its calls soon;
	// more than ten would not be little for a side that has become slower.
	limit := a.limit.Load()
	pin := min(max(limit/4, int64(a.options.Probe)), 10, limit)
	calm := max(pin, limit/2)
	if a.missed { // else a limit that is too low would stay so among critical calls
		calm = limit
	}
	a.calm.Store(calm)
	a.pin.Store(pin)
	a.generation.Add(1)
	a.clear()
}

// measured takes in the baseline, if there are calls enough or it took too long.
func (a *Adaptive) measured(now time.Duration, n int64) {
	if n < int64(a.options.ProbeCalls) && now-a.began <= patience {
		return
	}
	switch {
	case n > 0 && a.baseline == 0, n >= minSamples:
		a.missed = false
		a.remember(a.median())
	case a.baseline == 0: // no call yet: go on, there is nothing to go by
		a.began = now
		return
	default:
		a.missed = true
	}
	a.pin.Store(0)
	a.generation.Add(1)
	a.clear()
	a.due.Store(int64(now + a.options.Window))
	a.peak.Store(a.inflight.Load())
	// Many limits that began together must not measure together.
	a.dice = a.dice*6364136223846793005 + 1442695040888963407
	jitter := 0.85 + 0.3*float64(a.dice>>40)/(1<<24)
	// The first ones follow each other closely, until they are good together.
	interval := a.options.Interval >> max(trusted-a.times, 0)
	a.measure = now + time.Duration(float64(interval)*jitter)
}

// patience is how long measuring takes at most.
const patience = 5 * time.Second

// remember takes the mean of the baseline and what was measured, in which the
// last few have the same weight: the median of some dozens of calls alone is off
// by a seventh. A side that has become another one is believed at once.
func (a *Adaptive) remember(measured float64) {
	if measured > 2*a.baseline || measured < a.baseline/2 {
		a.baseline, a.times = measured, 1
		return
	}
	a.times = min(a.times+1, trusted)
	a.baseline += (measured - a.baseline) / float64(a.times)
}

// trusted is how many measurements make a baseline.
const trusted = 4

func (a *Adaptive) clear() {
	a.count.Store(0)
	a.pushed.Store(0)
}

// median returns that of the samples; there must be one.
func (a *Adaptive) median() float64 {
	n := min(a.count.Load(), samples)
	for i := range n {
		a.scratch[i] = a.samples[i].Load()
	}
	return float64(middle(a.scratch[:n]))
}
