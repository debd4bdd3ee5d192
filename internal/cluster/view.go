package cluster

import (
	"errors"
	"slices"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/breaker"
)

// View is what one call sees of a service: settings and members that belong
// together. It is immutable; only the members' own counters move.
type View struct {
	*Settings
	members []*Member
	loads   []*balancer.Member // the same members, in the same order
	picker  balancer.Picker
	empty   error // why there are no members
}

// ErrClosed is the cause of calls that come after the mesh was closed.
var ErrClosed = errors.New("the mesh is closed")

func newView(s *Settings, members []*Member, empty error) *View {
	v := &View{Settings: s, members: members, empty: empty}
	v.loads = make([]*balancer.Member, len(members))
	for i, m := range members {
		v.loads[i] = &m.load
	}
	picker, err := balancer.New(s.picker, v.loads)
	if err != nil { // a policy was validated before it came here
		picker, _ = balancer.New(balancer.P2C, v.loads)
	}
	v.picker = picker
	return v
}

// Members are those that may be called, breakers aside. Read only.
func (v *View) Members() []*Member { return v.members }

// Choice says whether a pick would find a member that was not tried yet, and
// whether it would find any.
func (v *View) Choice(now time.Duration, tried []*balancer.Member) (fresh, open bool) {
	for _, m := range v.loads {
		if m.Open(now) {
			open = true
			if !slices.Contains(tried, m) {
				return true, true
			}
		}
	}
	return false, open
}

// Pick chooses a member for an attempt and passes its breaker. Members tried
// before are chosen again only if there is no other.
func (v *View) Pick(now time.Duration, tried []*balancer.Member) (Pick, error) {
	if len(v.members) == 0 {
		return Pick{}, v.empty
	}
	var refusal error
	for range len(v.members) {
		i := v.picker.Pick(balancer.Info{Now: now, Tried: tried})
		if i < 0 {
			break
		}
		m := v.members[i]
		m.load.Begin() // before the breaker: others should see the load at once
		p := Pick{Member: m}
		guard := m.guard.Load()
		if guard == nil {
			return p, nil
		}
		if p.guard, refusal = guard.Enter(); refusal == nil {
			return p, nil
		}
		m.load.End()
		tried = append(slices.Clip(tried), &m.load)
	}
	return Pick{}, v.refused(refusal, now)
}

// Load is what the tried list of further picks is made of.
func (p *Pick) Load() *balancer.Member { return &p.load }

// refused finds the breaker that will let a probe in first.
func (v *View) refused(refusal error, now time.Duration) error {
	var first *breaker.OpenError
	for _, m := range v.members {
		if guard := m.guard.Load(); guard != nil && !m.load.Open(now) {
			if e := guard.Refusal(); first == nil || e.Probe.Before(first.Probe) {
				first = e
			}
		}
	}
	switch {
	case first != nil:
		return &AllOpenError{Members: len(v.members), First: first}
	case refusal != nil:
		return refusal
	default:
		return breaker.ErrOpen
	}
}
