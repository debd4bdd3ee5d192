package breaker

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/window"
)

// Outliers watches the instances of one service together and ejects those that
// do worse than the others, each for a while that grows from time to time. By
// its own act it never leaves less of the service than its options' floors.
//
// It is fed with outcomes and moments on any one clock, starts no goroutine and
// has no timers: an ejection ends by itself when its time has come, and then the
// first outcome decides: a failure ejects the instance again. Safe for concurrent
// use; a success takes no lock.
type Outliers struct {
	options OutlierOptions
	changed func(Ejection)
	chance  func() float64
	due     atomic.Int64 // the next comparison of success rates

	mu      sync.Mutex
	watched []*Watched
}

// Ejection is one change: an instance was ejected, or is back.
type Ejection struct {
	// Instance is the name that was given to [Outliers.Watch].
	Instance string
	// Cause is why it was ejected, [Returned] when it is back.
	Cause Cause
	// Until is when the ejection ends.
	Until time.Duration
	// Times is how many ejections it has not been forgiven, this one included.
	Times int
}

// Cause is why an instance was ejected.
type Cause string

// The causes, as in metrics and logs.
const (
	FailuresInRow Cause = "failures_in_row"
	GatewayInRow  Cause = "gateway_failures_in_row"
	FailureShare  Cause = "failure_share"
	SuccessRate   Cause = "success_rate"
	FailedProbe   Cause = "failed_probe"
	Returned      Cause = "returned"
)

// NewOutliers returns a watch over no instances yet. changed, which may be nil,
// is told of every change while the watch is locked: it must be quick and must
// not use the watch. Closing the balancer's member until the ejection's end, and
// warming it from then on, is all that it has to do.
func NewOutliers(o OutlierOptions, changed func(Ejection)) *Outliers {
	if changed == nil {
		changed = func(Ejection) {}
	}
	return &Outliers{options: o.withDefaults(), changed: changed, chance: rand.Float64}
}

// Watched is one instance under watch.
type Watched struct {
	name  string
	watch *Outliers

	row, gateway atomic.Int32 // failures since the last success
	recent       atomic.Pointer[outcomes]
	until        atomic.Int64 // the end of the last ejection, 0 before the first
	probe        atomic.Bool  // ejected, or not heard since it is back

	// Under the watch's lock.
	out   bool          // ejected, as far as was told
	times int           // ejections not forgiven
	since time.Duration // when the instance was last forgiven, ejected or back
}

// outcomes counts what an instance did within the window.
type outcomes struct{ judged, failed *window.Counter }

func newOutcomes(span time.Duration) *outcomes {
	return &outcomes{judged: window.New(span, buckets), failed: window.New(span, buckets)}
}

// Watch begins to watch an instance.
func (o *Outliers) Watch(name string) *Watched {
	w := &Watched{name: name, watch: o}
	w.recent.Store(newOutcomes(o.options.Window))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watched = append(o.watched, w)
	return w
}

// Forget ends the watch over an instance that has left. If there are now more
// ejected than so many instances allow, those whose time is nearest are back.
func (o *Outliers) Forget(now time.Duration, w *Watched) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watched = slices.DeleteFunc(o.watched, func(other *Watched) bool { return other == w })
	for o.ejected(now) > o.options.atMost(len(o.watched)) {
		next := slices.MinFunc(o.watched, func(a, b *Watched) int {
			return int(min(max(a.remains(now)-b.remains(now), -1), 1))
		})
		next.until.Store(int64(now))
		o.back(now, next)
	}
}

// remains is how long an ejection still lasts, beyond everything if there is
// none.
func (w *Watched) remains(now time.Duration) time.Duration {
	if left := time.Duration(w.until.Load()) - now; left > 0 {
		return left
	}
	return math.MaxInt64
}

// Record takes in how an attempt on the instance ended. What ends while the
// instance is ejected was begun before and counts for nothing.
func (w *Watched) Record(now time.Duration, r call.Reason) {
	o := w.watch
	if int64(now) >= o.due.Load() {
		o.Sweep(now)
	}
	if r.Neutral() && r != call.Throttled || int64(now) < w.until.Load() {
		return
	}
	recent := w.recent.Load()
	recent.judged.Add(now, 1)
	switch {
	case r == call.Throttled: // alive, so it breaks no row and makes none
		recent.failed.Add(now, 1)
	case r.Failed():
		recent.failed.Add(now, 1)
		w.fail(now, r)
	case w.probe.Load():
		w.probe.Store(false)
		fallthrough
	default:
		calm(&w.row)
		calm(&w.gateway)
	}
}

// calm ends a row of failures, without writing where there is none.
func calm(row *atomic.Int32) {
	if row.Load() != 0 {
		row.Store(0)
	}
}

// fail looks whether this failure was one too many.
func (w *Watched) fail(now time.Duration, r call.Reason) {
	o := &w.watch.options
	row := int(w.row.Add(1))
	gateway := 0
	if r == call.Gateway || r == call.Unavailable {
		gateway = int(w.gateway.Add(1))
	} else {
		calm(&w.gateway)
	}
	cause := Cause("")
	switch {
	case w.probe.Load():
		cause = FailedProbe
	case o.Failures > 0 && row >= o.Failures:
		cause = FailuresInRow
	case o.GatewayFailures > 0 && gateway >= o.GatewayFailures:
		cause = GatewayInRow
	case o.FailureRatio > 0:
		recent := w.recent.Load()
		if judged := recent.judged.Sum(now); judged >= int64(o.MinRequests) &&
			float64(recent.failed.Sum(now)) >= o.FailureRatio*float64(judged) {
			cause = FailureShare
		}
	}
	if cause != "" {
		w.watch.mu.Lock()
		defer w.watch.mu.Unlock()
		w.watch.eject(now, w, cause)
	}
}

// Ejected says whether the instance is out, and until when.
func (w *Watched) Ejected(now time.Duration) (until time.Duration, out bool) {
	until = time.Duration(w.until.Load())
	return until, now < until
}

// Ejected returns how many of how many instances are out.
func (o *Outliers) Ejected(now time.Duration) (out, of int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ejected(now), len(o.watched)
}

func (o *Outliers) ejected(now time.Duration) (n int) {
	for _, w := range o.watched {
		if _, out := w.Ejected(now); out {
			n++
		}
	}
	return n
}

// eject takes an instance out, unless it is or too many are.
func (o *Outliers) eject(now time.Duration, w *Watched, cause Cause) {
	if _, out := w.Ejected(now); out || !slices.Contains(o.watched, w) {
		return
	}
	o.back(now, w)
	w.row.Store(0) // of an ejection that is refused, too: the row begins anew
	w.gateway.Store(0)
	w.probe.Store(false)
	if o.ejected(now) >= o.options.atMost(len(o.watched)) || o.chance() >= o.options.EnforceRatio {
		return
	}
	w.times++
	w.out, w.since = true, now
	lasts := min(time.Duration(w.times)*o.options.Base, o.options.Max)
	lasts += time.Duration(o.options.Jitter * o.chance() * float64(lasts))
	w.probe.Store(true)
	w.recent.Store(newOutcomes(o.options.Window)) // it comes back without its past
	w.until.Store(int64(now + lasts))
	o.changed(Ejection{Instance: w.name, Cause: cause, Until: now + lasts, Times: w.times})
}

// back tells of an instance whose ejection is over.
func (o *Outliers) back(now time.Duration, w *Watched) {
	until, out := w.Ejected(now)
	if !w.out || out {
		return
	}
	w.out, w.since = false, until
	o.changed(Ejection{Instance: w.name, Cause: Returned, Until: until, Times: w.times})
}

// Sweep tells of those who are back, forgives, and compares success rates.
// Record does it when it is time; where nothing is recorded for long it may be
// called for the telling.
func (o *Outliers) Sweep(now time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if int64(now) < o.due.Load() {
		return // another has done it
	}
	o.due.Store(int64(now + o.options.Interval))
	for _, w := range o.watched {
		o.back(now, w)
		if !w.out && w.times > 0 && now-w.since >= o.options.Interval {
			w.times--
			w.since = now
		}
	}
	if o.options.Deviations >= 0 {
		o.compare(now)
	}
}

// compare ejects who succeeds less often than the others, the worst first.
func (o *Outliers) compare(now time.Duration) {
	type rated struct {
		*Watched
		rate float64
	}
	var all []rated
	sum, squares := 0.0, 0.0
	for _, w := range o.watched {
		recent := w.recent.Load()
		judged := recent.judged.Sum(now)
		if _, out := w.Ejected(now); out || judged < int64(o.options.RateRequests) {
			continue
		}
		rate := 1 - float64(recent.failed.Sum(now))/float64(judged)
		all = append(all, rated{w, rate})
		sum, squares = sum+rate, squares+rate*rate
	}
	if len(all) < o.options.MinInstances {
		return
	}
	n := float64(len(all))
	mean := sum / n
	deviation := math.Sqrt(max(squares/n-mean*mean, 0))
	lowest := mean - max(o.options.Deviations*deviation, o.options.MinGap)
	slices.SortFunc(all, func(a, b rated) int { return cmp.Compare(a.rate, b.rate) })
	for _, r := range all {
		if r.rate < lowest {
			o.eject(now, r.Watched, SuccessRate)
		}
	}
}
