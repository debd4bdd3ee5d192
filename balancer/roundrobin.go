package balancer

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// roundRobin takes the members in turn. Each picker starts somewhere else, so
// that clients which started together do not all begin with the first member.
type roundRobin struct {
	members   []*Member
	slowStart time.Duration
	next      atomic.Uint32
}

func newRoundRobin(o Options, l list) *roundRobin {
	r := &roundRobin{members: l.members, slowStart: o.SlowStart}
	r.next.Store(rand.Uint32())
	return r
}

func (r *roundRobin) Pick(info Info) int {
	n := uint32(len(r.members))
	if n == 0 {
		return -1
	}
	i := int(r.next.Add(1) % n)
	for range draws { // who is in slow start passes some of its turns on
		if m := r.members[i]; m.passes(info, r.slowStart) {
			i = int(r.next.Add(1) % n)
		} else {
			break
		}
	}
	return firstFit(r.members, i, info)
}

// passes says whether a member in slow start lets this turn go by.
func (m *Member) passes(info Info, slowStart time.Duration) bool {
	if m.fresh.Load() == 0 {
		return false
	}
	w := m.warmth(info.Now, slowStart)
	if w == 1 {
		return false
	}
	l := info.luck()
	return l.chance() >= w
}

// weightedRoundRobin takes each member as often as its weight says. It walks
// around the circle of all weights in golden steps: every round is exact, and
// the turns of a member lie as evenly in it as they can. The walk is one atomic
// addition.
type weightedRoundRobin struct {
	members   []*Member
	shares    *shares
	step      uint64
	slowStart time.Duration
	next      atomic.Uint64
}

func newWeightedRoundRobin(o Options, l list) Picker {
	if l.weights == nil {
		return newRoundRobin(o, l)
	}
	s := newShares(l.weights)
	w := &weightedRoundRobin{members: l.members, shares: s, step: uint64(stride(s.total)), slowStart: o.SlowStart}
	w.next.Store(uint64(rand.Uint32()))
	return w
}

func (w *weightedRoundRobin) Pick(info Info) int {
	i := w.turn()
	for range draws {
		if !w.members[i].passes(info, w.slowStart) {
			break
		}
		i = w.turn()
	}
	return firstFit(w.members, i, info)
}

func (w *weightedRoundRobin) turn() int {
	total := uint64(w.shares.total)
	return w.shares.of(uint32(w.next.Add(1) % total * w.step % total))
}
