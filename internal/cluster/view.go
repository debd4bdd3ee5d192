package cluster

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/call"
)

// View is what one call sees of a service: settings and members that belong
// together. It is immutable; only the members' own counters move.
type View struct {
	*Settings
	members []*Member
	loads   []*balancer.Member // the same members, in the same order
	picker  balancer.Picker
	all     int   // instances, those that may not be called included
	empty   error // why there are no members
	healthy atomic.Pointer[census]
}

// census is how many members could be called at a moment.
type census struct {
	at time.Duration
	n  int
}

// recent is for how long a census holds: many calls share the work.
const recent = 50 * time.Millisecond

// ErrClosed is the cause of calls that come after the mesh was closed.
var ErrClosed = errors.New("the mesh is closed")

func newView(s *Settings, members []*Member, all int, empty error) *View {
	v := &View{Settings: s, members: members, all: all, empty: empty}
	v.loads = make([]*balancer.Member, len(members))
	for i, m := range members {
		v.loads[i] = &m.load
	}
	picker, err := balancer.NewPool(s.picker, v.loads)
	if err != nil { // a policy was validated before it came here
		picker, _ = balancer.NewPool(balancer.Options{}, v.loads)
	}
	v.picker = picker
	return v
}

// Members are those that may be called, breakers aside. Read only.
func (v *View) Members() []*Member { return v.members }

// Error says why nobody may be called, breakers aside; nil if somebody may.
func (v *View) Error() error {
	if len(v.members) > 0 {
		return nil
	}
	return v.empty
}

// Health says how many of the instances could be called lately, and how many
// there are.
func (v *View) Health(now time.Duration) (healthy, all int) {
	if c := v.healthy.Load(); c != nil && now-c.at < recent && now >= c.at {
		return c.n, v.all
	}
	n := 0
	for _, m := range v.loads {
		if m.Open(now) {
			n++
		}
	}
	v.healthy.Store(&census{now, n})
	return n, v.all
}

// Has says whether any of these is a member.
func (v *View) Has(loads []*balancer.Member) bool {
	return slices.ContainsFunc(loads, func(m *balancer.Member) bool { return slices.Contains(v.loads, m) })
}

// Choice says whether a pick would find a member that was not tried yet, and
// whether it would find any.
func (v *View) Choice(info balancer.Info) (fresh, open bool) {
	for _, m := range v.loads {
		if m.Open(info.Now) {
			open = true
			if !slices.Contains(info.Tried, m) {
				return true, true
			}
		}
	}
	return false, open
}

// Neighbours adds to a list, which it may not write to, the members that share a
// zone with one of these.
func (v *View) Neighbours(list, of []*balancer.Member) []*balancer.Member {
	type zone struct{ region, name string }
	in := func(m *Member) zone { i := m.instance.Load(); return zone{i.Region, i.Zone} }
	var zones []zone
	for i, m := range v.loads {
		if z := in(v.members[i]); z.name != "" && slices.Contains(of, m) {
			zones = append(zones, z)
		}
	}
	if len(zones) == 0 {
		return list
	}
	list = slices.Clip(list)
	for i, m := range v.loads {
		if slices.Contains(zones, in(v.members[i])) && !slices.Contains(of, m) {
			list = append(list, m)
		}
	}
	return list
}

// Quickest is the time that one in ten answers of the fastest of a few members
// kept to, of those that were not tried yet; 0 if nothing is known of one.
func (v *View) Quickest(info balancer.Info) (least time.Duration) {
	const few = 8
	looked := 0
	for i, m := range v.loads {
		if !m.Open(info.Now) || slices.Contains(info.Tried, m) {
			continue
		}
		took := v.members[i].latency.Quantile(0.1)
		if took == 0 {
			return 0
		}
		if looked == 0 || took < least {
			least = took
		}
		if looked++; looked == few {
			break
		}
	}
	return least
}

// Pick chooses a member for an attempt and passes its breaker. Members tried
// before are chosen again only if there is no other.
func (v *View) Pick(info balancer.Info) (Pick, error) {
	if err := v.Error(); err != nil {
		return Pick{}, err
	}
	var refusal error
	for range len(v.members) {
		i := v.picker.Pick(info)
		if i < 0 {
			break
		}
		m := v.members[i]
		m.load.Start(info.Now) // before the breaker: others should see the load at once
		p := Pick{Member: m}
		guard := m.guard.Load()
		if guard == nil {
			return p, nil
		}
		if p.guard, refusal = guard.Enter(); refusal == nil {
			return p, nil
		}
		m.load.Finish(info.Now, 0, call.Rejected, 0)
		info.Tried = append(slices.Clip(info.Tried), &m.load)
	}
	return Pick{}, v.refused(refusal, info.Now)
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
