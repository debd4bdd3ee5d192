package balancer

import (
	"errors"
	"fmt"
	"slices"
)

// Pool is a list of members with the picker that its options name. It is
// immutable: a change of the list makes another pool, and for all but the hashing
// algorithms that costs little more than copying the list. The members' own
// counters move on under both.
type Pool struct {
	list
	options Options
	picker  Picker
}

// list is what all pickers are built over.
type list struct {
	members []*Member
	// weights are those of the members when the list was made, nil if all of
	// them were that of even.
	weights []int32
	even    int32
}

// NewPool returns a pool over members. The slice is kept and must not change.
// Options that do not pass [Options.Validate] are an error, and so are members
// without an ID where the algorithm needs one.
func NewPool(o Options, members []*Member) (*Pool, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	l := list{members: members, even: 1}
	if len(members) > 0 {
		l.even = int32(members[0].Weight())
	}
	return newPool(o.withDefaults(), l.weigh(0))
}

// weigh reads the weights of the members from one on.
func (l list) weigh(from int) list {
	for i, m := range l.members[from:] {
		w := int32(m.Weight())
		if l.weights == nil && w != l.even {
			l.weights = slices.Repeat([]int32{l.even}, len(l.members))
		}
		if l.weights != nil {
			l.weights[from+i] = w
		}
	}
	return l
}

// weight returns the weight of a member.
func (l list) weight(i int) int32 {
	if l.weights == nil {
		return l.even
	}
	return l.weights[i]
}

func newPool(o Options, l list) (*Pool, error) {
	if o.Policy.hashes() {
		if i := slices.IndexFunc(l.members, func(m *Member) bool { return m.ID() == 0 }); i >= 0 {
			return nil, fmt.Errorf("member %d of %d has no ID, and %s goes by it: call SetID", i+1, len(l.members), o.Policy)
		}
	}
	p := &Pool{options: o, list: l}
	switch o.Policy {
	case PeakEWMA:
		p.picker = newPeakEWMA(o, l)
	case RoundRobin:
		p.picker = newRoundRobin(o, l)
	case WeightedRoundRobin:
		p.picker = newWeightedRoundRobin(o, l)
	case Random:
		p.picker = newRandom(o, l)
	case RingHash:
		p.picker = newHashed(o, l, newRing(o, l))
	case Maglev:
		p.picker = newHashed(o, l, newMaglev(o, l))
	default:
		p.picker = newP2C(o, l)
	}
	return p, nil
}

// Pick chooses a member, as the index into [Pool.Members].
func (p *Pool) Pick(info Info) int { return p.picker.Pick(info) }

// Members are those of the pool. Read only.
func (p *Pool) Members() []*Member { return p.members }

// ErrUnknownMember is the cause of a change that takes out who is not there.
var ErrUnknownMember = errors.New("not a member of the pool")

// Change returns a pool without those who leave and with those who join. Who
// stays keeps the order, and the weight it had; who joins stands at the end.
// Weights are read again by [NewPool] only.
func (p *Pool) Change(leave, join []*Member) (*Pool, error) {
	n := len(p.members) - len(leave) + len(join)
	if n < 0 {
		return nil, fmt.Errorf("take out %d of %d members: %w", len(leave), len(p.members), ErrUnknownMember)
	}
	places := p.places(leave)
	if len(places) > 0 && places[0] < 0 {
		return nil, fmt.Errorf("take out %d of %d members: %w", len(leave), len(p.members), ErrUnknownMember)
	}
	l := list{members: without(p.members, places, n), even: p.even}
	if p.weights != nil && n > 0 { // nobody has no weights
		l.weights = without(p.weights, places, n)[:n]
	}
	l.members = append(l.members, join...)
	return newPool(p.options, l.weigh(n-len(join)))
}

// without copies what is not at the places into a slice with room for n.
func without[T any](from []T, places []int, n int) []T {
	kept, next := make([]T, 0, n), 0
	for _, at := range places {
		kept = append(kept, from[next:at]...)
		next = at + 1
	}
	return append(kept, from[next:]...)
}

// places finds members in the list, in order; the first is -1 if one is not there
// or was named twice.
func (p *Pool) places(wanted []*Member) []int {
	at := make([]int, len(wanted))
	if len(wanted) <= 4 { // a scan is faster than a map of everybody
		for i, m := range wanted {
			at[i] = slices.Index(p.members, m)
		}
	} else {
		index := make(map[*Member]int, len(p.members))
		for i, m := range p.members {
			index[m] = i
		}
		for i, m := range wanted {
			if j, ok := index[m]; ok {
				at[i] = j
			} else {
				at[i] = -1
			}
		}
	}
	slices.Sort(at)
	if len(slices.Compact(slices.Clone(at))) < len(at) {
		at[0] = -1
	}
	return at
}
