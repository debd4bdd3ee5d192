package balancer

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/call"
)

// Member is what a picker knows about one instance: its share, its load, how
// fast it answers, and since when it is in use. The zero value is an idle member
// of weight 1 that was never asked. It must not be copied. All methods are safe
// for concurrent use.
//
// Around an attempt stand either [Member.Begin] and [Member.End], which count
// it, or [Member.Start], [Member.Answer] and End, which measure it as well;
// [Member.Finish] is the last two in one, and [Member.Outrun] an Answer, too.
type Member struct {
	// load has what is under way in its upper half, and how much of that has
	// not been answered yet in its lower.
	load     atomic.Uint64
	estimate estimate
	reported report
	heard    atomic.Int64 // since when the unanswered wait without any answer
	closed   atomic.Int64 // not before this moment, on the clock of the picks
	fresh    atomic.Int64 // when slow start began, 0 is none
	id       atomic.Uint64
	weight   atomic.Int32
	lost     atomic.Uint32 // rounds that were lost to others since the last answer
	outrun   atomic.Int64  // when the last of them was
}

// What one attempt adds to a member's load.
const (
	underway   = 1 << 32
	unanswered = 1
)

// Weight returns the member's share against its siblings, at least 1.
func (m *Member) Weight() int { return max(int(m.weight.Load()), 1) }

// SetWeight changes the member's share. Pickers that were built before may not
// notice.
func (m *Member) SetWeight(w int) { m.weight.Store(int32(min(max(w, 1), math.MaxInt32))) }

// SetID says which instance the member is, by its name or address. Hashing
// pickers and [Subset] go by it, in every client alike; others do not need it.
func (m *Member) SetID(id string) { m.id.Store(Hash(id)) }

// ID returns the hash of the member's name, 0 if it has none.
func (m *Member) ID() uint64 { return m.id.Load() }

// Inflight returns how many attempts the member is carrying.
func (m *Member) Inflight() int { return int(int32(m.load.Load() >> 32)) }

// Begin counts an attempt that goes to the member.
func (m *Member) Begin() { m.load.Add(underway) }

// Start counts an attempt that goes to the member and waits for its answer: if
// none comes, the member looks slower from moment to moment. Exactly one Answer
// and one End must follow, or one Finish.
func (m *Member) Start(now time.Duration) {
	if uint32(m.load.Load()) == 0 {
		m.heard.Store(int64(now))
	}
	m.load.Add(underway + unanswered)
}

// Answer tells how the attempt ended, as soon as that is known: took is how long
// that was, after how long the instance asked to be left alone. Failures and
// pushback are charged a penalty, so that failing fast is not being fast.
func (m *Member) Answer(now, took time.Duration, r call.Reason, after time.Duration) {
	m.answered(now, m.load.Add(^uint64(unanswered-1)))
	m.learn(now, took, r, after)
}

// Outrun is Answer for an attempt that was given up because another instance has
// answered its call first: a hedge's, or what was hedged.
func (m *Member) Outrun(now, took time.Duration) {
	m.answered(now, m.load.Add(^uint64(unanswered-1)))
	m.estimate.raise(now, m.atLeast(now, took))
}

// End takes back what Begin or Start counted and returns how many attempts are
// left.
func (m *Member) End() int { return int(int32(m.load.Add(^uint64(underway-1)) >> 32)) }

// Finish is Answer and End at once.
func (m *Member) Finish(now, took time.Duration, r call.Reason, after time.Duration) int {
	load := m.load.Add(^uint64(underway + unanswered - 1))
	m.answered(now, load)
	m.learn(now, took, r, after)
	return int(int32(load >> 32))
}

// answered notes that the member is alive, if somebody still waits for it.
func (m *Member) answered(now time.Duration, load uint64) {
	if uint32(load) != 0 {
		m.heard.Store(int64(now))
	}
}

// learn turns an outcome into a sample of the estimate.
func (m *Member) learn(now, took time.Duration, r call.Reason, after time.Duration) {
	switch {
	case r.Failed(), r == call.Throttled:
		took = max(took, penalty, min(after, maxAfter))
	case r == call.Canceled: // a lower bound of what it would have taken
		m.estimate.raise(now, took)
		return
	case r == call.Expired:
		m.estimate.observe(now, took)
		return
	case r == call.OK:
	default: // refused or rejected: it was not asked
		return
	}
	m.estimate.observe(now, took)
	if m.lost.Load() != 0 {
		m.lost.Store(0)
	}
}

// atLeast is what an attempt that was outrun would have taken, as far as is known:
// a lower bound, which says little when hedges come early and the instance hangs.
// It is doubled with each further one that no answer came between, as TCP does with
// a timer that runs out again (RFC 6298, 5.5), and as there once for all that were
// under way together: they have met the same moment of silence.
func (m *Member) atLeast(now, took time.Duration) time.Duration {
	last := m.outrun.Load()
	if int64(now-took) >= last && m.outrun.CompareAndSwap(last, int64(now)) {
		m.lost.Add(1)
	}
	if took >= penalty {
		return took
	}
	again := min(max(m.lost.Load(), 1)-1, maxDoublings)
	return min(took<<again, penalty)
}

// What a failure is charged, and how long an instance may ask to be left alone.
const (
	penalty  = 5 * time.Second
	maxAfter = 300 * time.Second
	// maxDoublings is when even a microsecond is beyond a penalty.
	maxDoublings = 23
)

// Latency returns how long an answer is expected to take, 0 if nothing is known
// yet. It is the peak of what was seen and sinks by a half in seven seconds.
func (m *Member) Latency(now time.Duration) time.Duration {
	return time.Duration(m.estimate.at(now))
}

// CloseUntil keeps picks away from the member until the given moment; 0 lets
// them in again.
func (m *Member) CloseUntil(at time.Duration) { m.closed.Store(int64(at)) }

// Open says whether the member may be picked now.
func (m *Member) Open(now time.Duration) bool { return m.closed.Load() <= int64(now) }

// Warm begins the member's slow start: it came or came back just now and gets
// less than its share at first. 0 ends it.
func (m *Member) Warm(now time.Duration) { m.fresh.Store(int64(now)) }

// minWarmth is the part of its share with which a member starts.
const minWarmth = 0.1

// warmth is the part of its share that a member gets in slow start, which grows
// evenly over the window (Envoy's slow_start_config, aggression 1).
func (m *Member) warmth(now, window time.Duration) float64 {
	since := m.fresh.Load()
	if since == 0 || window <= 0 || int64(now)-since >= int64(window) {
		return 1
	}
	return max(float64(int64(now)-since)/float64(window), minWarmth)
}

// lighter says whether m carries less per weight than o.
func (m *Member) lighter(o *Member) bool {
	return int64(m.Inflight())*int64(o.Weight()) < int64(o.Inflight())*int64(m.Weight())
}
