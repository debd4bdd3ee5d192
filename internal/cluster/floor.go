package cluster

import (
	"math"
	"slices"
	"sync"
	"time"
)

// floor keeps this process from taking too much of a service out of rotation by
// its own act. Breakers, ejection and slow start ask for what they want; it is
// granted, first come first served, as long as enough members are left that have
// their full share. Who is spared is called although its breaker is open: with
// most of a service failing, that is better than nobody or too few.
//
// Who discovery says is critical does not count on either side. The methods are
// safe for concurrent use and quick; they are called under locks of breakers and
// must take no other.
type floor struct {
	mu       sync.Mutex
	ratio    float64 // of all callable members, 0 is no floor
	callable int
	down     []*Member // who has less than its share, or wants less
}

// demand is what is asked for a member. It is guarded by the floor.
type demand struct {
	until   [doors]time.Duration // picks should be kept away so long
	warm    time.Duration        // when slow start ends
	since   time.Duration        // when it begins
	tripped bool                 // the breaker is open or half-open
	listed  bool
	counts  bool // the member is callable
	gone    bool
}

// slowStart is how long a member is in slow start.
const slowStart = 30 * time.Second

// trip notes that a member's breaker has opened, and lets probes in from a
// moment on; until that has been well, the member has not its full share.
func (f *floor) trip(now time.Duration, m *Member, probe time.Duration) {
	f.ask(now, m, func(d *demand) { d.tripped, d.until[byBreaker] = true, probe })
}

// mend notes that a member's breaker is closed.
func (f *floor) mend(now time.Duration, m *Member) {
	f.ask(now, m, func(d *demand) { d.tripped, d.until[byBreaker] = false, 0 })
}

// eject keeps picks away from a member until a moment, and lets it start slowly
// then.
func (f *floor) eject(now time.Duration, m *Member, until time.Duration) {
	f.ask(now, m, func(d *demand) { d.until[byEjection], d.since, d.warm = until, until, until+slowStart })
}

// restore notes that an ejection is over, perhaps before its time.
func (f *floor) restore(now time.Duration, m *Member) {
	f.ask(now, m, func(d *demand) {
		if d.until[byEjection] > now {
			d.since, d.warm = now, now+slowStart
		}
		d.until[byEjection] = 0
	})
}

// pardon lets an ejected member back without a slow start.
func (f *floor) pardon(now time.Duration, m *Member) {
	f.ask(now, m, func(d *demand) { d.until[byEjection], d.since, d.warm = 0, 0, 0 })
}

// warm begins a member's slow start.
func (f *floor) warm(now time.Duration, m *Member) {
	f.ask(now, m, func(d *demand) { d.since, d.warm = now, now+slowStart })
}

func (f *floor) ask(now time.Duration, m *Member, change func(*demand)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.demand.gone { // what it was still asked is over now
		return
	}
	change(&m.demand)
	if !m.demand.listed {
		m.demand.listed = true
		f.down = append(f.down, m)
	}
	f.settle(now)
}

// until tells until when picks are kept away from a member, if that is granted.
func (f *floor) until(m *Member) [doors]time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return m.demand.until
}

// warmth tells of a member's slow start, if that is granted.
func (f *floor) warmth(m *Member) (w struct{ since, until time.Duration }) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.since, w.until = m.demand.since, m.demand.warm
	return w
}

// set changes how much stays; negative is no floor.
func (f *floor) set(now time.Duration, ratio float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ratio = max(ratio, 0)
	f.settle(now)
}

// change notes who may be called now, who not any more, and who of those is gone.
func (f *floor) change(now time.Duration, leave, join, gone []*Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range leave {
		m.demand.counts = false
	}
	for _, m := range join {
		m.demand.counts = true
	}
	for _, m := range gone {
		m.demand = demand{listed: m.demand.listed, gone: true}
	}
	f.callable += len(join) - len(leave)
	f.settle(now)
}

// settle grants what can be granted. Who is shut goes before who starts slowly.
func (f *floor) settle(now time.Duration) {
	room := f.callable - int(math.Ceil(f.ratio*float64(f.callable)-1e-9))
	f.down = slices.DeleteFunc(f.down, func(m *Member) bool {
		d := &m.demand
		until := max(d.until[byBreaker], d.until[byEjection])
		switch {
		case d.tripped || until > now:
			if d.counts {
				room--
			}
			m.spare(d.counts && room < 0, until, d.since)
			return false
		case d.warm > now:
			return false
		default:
			m.spare(false, 0, 0)
			d.listed = false
			return true
		}
	})
	for _, m := range f.down {
		if d := &m.demand; !d.tripped && max(d.until[byBreaker], d.until[byEjection]) <= now {
			if d.counts {
				room--
			}
			since := d.since
			if room < 0 {
				since = 0
			}
			m.spare(false, 0, since)
		}
	}
}

// spare puts in force what was decided about a member.
func (m *Member) spare(spared bool, until, warm time.Duration) {
	if spared {
		until, warm = 0, 0
	}
	m.spared.Store(spared) // before the door is opened, and after it is shut: see enter
	m.load.CloseUntil(until)
	m.load.Warm(warm)
}
