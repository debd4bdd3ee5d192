package cluster

import (
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"sync/atomic"
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
	pool    *balancer.Pool // the picker, while there is one level
	located bool           // who joins may be farther than the others
	all     int            // instances, those that may not be called included
	empty   error          // why there are no members
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

// newView builds a view over members by their distance.
func newView(s *Settings, levels [][]*Member, all int, empty error) *View {
	v := &View{Settings: s, all: all, empty: empty}
	if len(levels) == 1 {
		v.members = levels[0]
	} else {
		v.members = slices.Concat(levels...)
	}
	v.loads = loads(v.members)
	if len(levels) < 2 {
		v.pool = pool(s.picker, v.loads)
		v.picker = v.pool
		return v
	}
	tiers := make([][]*balancer.Member, len(levels))
	for i, level := range levels {
		tiers[i] = loads(level)
	}
	// How much stays in rotation is the floor's business.
	tiering := balancer.Tiering{PanicRatio: -1}
	picker, err := balancer.NewTiers(s.picker, tiering, tiers)
	if err != nil {
		picker, _ = balancer.NewTiers(balancer.Options{}, tiering, tiers)
	}
	v.picker = picker
	return v
}

func pool(o balancer.Options, members []*balancer.Member) *balancer.Pool {
	p, err := balancer.NewPool(o, members)
	if err != nil { // a policy was validated before it came here
		p, _ = balancer.NewPool(balancer.Options{}, members)
	}
	return p
}

func loads(members []*Member) []*balancer.Member {
	all := make([]*balancer.Member, len(members))
	for i, m := range members {
		all[i] = &m.load
	}
	return all
}

// changed returns the view after some changes, nil if that must be built anew.
func (v *View) changed(ch changes, all int, empty error) *View {
	next := &View{Settings: v.Settings, members: v.members, loads: v.loads, picker: v.picker, pool: v.pool, all: all, empty: empty}
	if len(ch.leave)+len(ch.join) == 0 && !ch.reweighed {
		return next
	}
	if v.pool == nil || v.located || ch.reweighed || len(ch.leave) > few {
		return nil
	}
	pool, err := v.pool.Change(loads(ch.leave), loads(ch.join))
	if err != nil {
		return nil
	}
	next.members = make([]*Member, 0, len(pool.Members()))
	from := 0
	for _, at := range slices.Sorted(places(v.members, ch.leave)) {
		next.members = append(next.members, v.members[from:at]...)
		from = at + 1
	}
	next.members = append(append(next.members, v.members[from:]...), ch.join...)
	next.pool, next.picker, next.loads = pool, pool, pool.Members()
	return next
}

// few are so many that looking for each of them is less work than building anew.
const few = 16

// places tells where members are in a list that has them all.
func places(all, some []*Member) iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, m := range some {
			if !yield(slices.Index(all, m)) {
				return
			}
		}
	}
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
	for _, m := range v.members {
		if m.load.Open(now) && !m.spared.Load() {
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

// Lost says whether a call had better try elsewhere: those of the members that it
// has tried gave no answer when they were last called, by whomever, and there are
// two of them, or it is the only member.
func (v *View) Lost(tried []*balancer.Member) bool {
	silent := 0
	for _, m := range tried {
		i := slices.Index(v.loads, m)
		if i < 0 {
			continue
		}
		if !v.members[i].silent.Load() {
			return false
		}
		silent++
	}
	return silent > 0 && silent >= min(2, len(v.loads))
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
	for range tries {
		i := v.picker.Pick(info)
		if i < 0 {
			break
		}
		p, err := v.members[i].enter(info.Now)
		if err == nil {
			return p, nil
		}
		refusal = err
		info.Tried = append(slices.Clip(info.Tried), v.loads[i])
	}
	return v.search(info, refusal)
}

// tries is how often a member is chosen by the rules; then anybody will do.
const tries = 8

// search finds whoever lets an attempt in, best somebody who was not tried.
func (v *View) search(info balancer.Info, refusal error) (Pick, error) {
	start := rand.IntN(len(v.members))
	for _, again := range []bool{false, true} {
		for k := range v.members {
			m := v.members[(start+k)%len(v.members)]
			if !m.load.Open(info.Now) || !again && slices.Contains(info.Tried, &m.load) {
				continue
			}
			p, err := m.enter(info.Now)
			if err == nil {
				return p, nil
			}
			refusal = err
		}
	}
	return Pick{}, v.refused(refusal, info.Now)
}

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
