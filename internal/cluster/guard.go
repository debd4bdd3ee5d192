package cluster

import (
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/call"
)

// guard is a member's breaker, which is asked only while there is doubt: from a
// first failure until a success after a whole window without one. A member that
// answers well, which nearly all do nearly always, costs its calls two loads.
//
// What it has answered before the doubt is told to the breaker with the first
// failure, as far as it matters: the share of failures is what it would be, but
// for very busy members, of which no more than history is told.
type guard struct {
	*breaker.Breaker
	window time.Duration
	doubt  atomic.Int64 // until when failures count, 0 is no doubt
	pace   pace
}

// history is how many successes a breaker is told of at most when doubt begins.
const history = 200

// enter asks the breaker, if it must be asked, and says so if it was not.
func (g *guard) enter() (leave breaker.Leave, about remark, err error) {
	if g.doubt.Load() == 0 {
		return nil, trusted, nil
	}
	leave, err = g.Enter()
	return leave, 0, err
}

// judge takes in how an attempt ended. answers are those of the member so far.
func (g *guard) judge(now time.Duration, leave breaker.Leave, about remark, r call.Reason, answers uint64) {
	switch {
	case about&trusted != 0:
		g.pace.tick(now, g.window, answers)
		g.report(now, r, answers)
	case leave != nil:
		if r.Failed() {
			g.doubt.Store(int64(now + g.window))
		}
		leave.Done(r)
		g.trust(now, r)
	}
}

// report tells the breaker of an attempt that was not asked about.
func (g *guard) report(now time.Duration, r call.Reason, answers uint64) {
	failed := r.Failed()
	if r.Neutral() || !failed && g.doubt.Load() == 0 {
		return
	}
	if failed && g.doubt.Swap(int64(now+g.window)) == 0 {
		for range min(g.pace.recent(answers), history) {
			g.record(call.OK)
		}
	}
	g.record(r)
}

func (g *guard) record(r call.Reason) {
	if state, _ := g.State(); state != breaker.Closed {
		return // it began before the breaker opened, so it says nothing new
	}
	if leave, err := g.Enter(); err == nil {
		leave.Done(r)
	}
}

// trust ends the doubt with a success when all failures are forgotten: it has
// ended any row of them as well.
func (g *guard) trust(now time.Duration, r call.Reason) {
	until := g.doubt.Load()
	if r.Failed() || r.Neutral() || int64(now) < until {
		return
	}
	if state, _ := g.State(); state == breaker.Closed && g.doubt.CompareAndSwap(until, 0) {
		g.pace.next.Store(0) // nobody has kept it meanwhile
	}
}

// pace knows how many answers there were lately, to within half of a window. It
// is written twice a window.
type pace struct {
	next  atomic.Int64
	marks [3]atomic.Uint64 // how many there were at the last three turns
}

func (p *pace) tick(now, window time.Duration, answers uint64) {
	next := p.next.Load()
	if int64(now) < next || !p.next.CompareAndSwap(next, int64(now+window/2)) {
		return
	}
	before := answers - 1 // this one is of the new turn
	if now-time.Duration(next) > window {
		p.marks[0].Store(before)
		p.marks[1].Store(before)
	} else {
		p.marks[0].Store(p.marks[1].Load())
		p.marks[1].Store(p.marks[2].Load())
	}
	p.marks[2].Store(before)
}

func (p *pace) recent(answers uint64) uint64 {
	// The last of them is the one that is being judged.
	return max(answers, p.marks[0].Load()+1) - 1 - p.marks[0].Load()
}
