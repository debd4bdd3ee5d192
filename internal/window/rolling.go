package window

import (
	"sync"
	"sync/atomic"
	"time"
)

// Rolling answers how long things take of late: it keeps the durations of the
// last one to two spans, and a quantile of them that is reckoned anew now and
// then. It is safe for concurrent use; recording is an atomic addition.
type Rolling struct {
	span  time.Duration
	q     float64
	least uint64

	now     atomic.Pointer[Histogram]
	turns   atomic.Int64 // when the next span begins
	due     atomic.Int64 // when the quantile is reckoned next
	value   atomic.Int64
	mu      sync.Mutex
	before  *Histogram
	started bool
}

// NewRolling returns an empty one for the q-th part of what happens in a span. It
// knows nothing until it has seen least durations.
func NewRolling(span time.Duration, q float64, least int) *Rolling {
	r := &Rolling{span: span, q: q, least: uint64(max(least, 1))}
	r.now.Store(new(Histogram))
	return r
}

// Record counts one duration at a moment, on any one clock.
func (r *Rolling) Record(now, d time.Duration) {
	if int64(now) >= r.turns.Load() {
		r.turn(now)
	}
	r.now.Load().Record(d)
}

// Quantile returns how long the quickest q-th part took, 0 if too little is known.
func (r *Rolling) Quantile(now time.Duration) time.Duration {
	if int64(now) >= r.due.Load() {
		r.reckon(now)
	}
	return time.Duration(r.value.Load())
}

func (r *Rolling) turn(now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	late := int64(now) - r.turns.Load()
	if late < 0 {
		return
	}
	r.before = r.now.Load()
	if r.started && late >= int64(r.span) || !r.started { // nothing came for a whole span
		r.before = new(Histogram)
	}
	r.started = true
	r.now.Store(new(Histogram))
	r.turns.Store(int64(now + r.span))
}

// reckoned is for how long a quantile holds, as a part of the span.
const reckoned = 100

func (r *Rolling) reckon(now time.Duration) {
	if int64(now) >= r.turns.Load() {
		r.turn(now)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if int64(now) < r.due.Load() {
		return
	}
	r.due.Store(int64(now + r.span/reckoned))
	var both Histogram
	total := both.add(r.before) + both.add(r.now.Load())
	if total < r.least {
		r.value.Store(0)
		return
	}
	r.value.Store(int64(both.Quantile(r.q)))
}

// add takes over what another has counted and says how much that is.
func (h *Histogram) add(o *Histogram) (total uint64) {
	if o == nil {
		return 0
	}
	for i := range o.buckets {
		n := o.buckets[i].Load()
		h.buckets[i].Add(n)
		total += n
	}
	return total
}
