package balancer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Tiering says how much goes to instances farther away when those near by are
// failing. The zero value is the documented default.
type Tiering struct {
	// Overprovision is how many times its even share a level is trusted to
	// carry: with 1.4, all calls stay at a level until less than 1/1.4 of it
	// are open. At least 1. Default 1.4.
	Overprovision float64
	// PanicRatio is the part of a level that must be open; if fewer are, and all
	// levels together can not carry the calls, closed members are picked, too:
	// many that fail are rather a fault of the check than of them all. 0 to 1.
	// Default 0.5; negative: never.
	PanicRatio float64
}

// Level is how many members a level has, and how many of them are open.
type Level struct{ Total, Open int }

// Part is what a level gets.
type Part struct {
	// Share is its part of all picks.
	Share float64
	// Panic says that its closed members are picked, too.
	Panic bool
}

func (t Tiering) withDefaults() Tiering {
	t.Overprovision = cmp.Or(t.Overprovision, 1.4)
	t.PanicRatio = cmp.Or(t.PanicRatio, 0.5)
	return t
}

// Validate names every field that is out of range.
func (t Tiering) Validate() error {
	var faults []error
	fault := func(bad bool, field string, value any, rule string) {
		if bad {
			faults = append(faults, fmt.Errorf("%s is %v: %s", field, value, rule))
		}
	}
	fault(t.Overprovision != 0 && !(t.Overprovision >= 1), "Overprovision", t.Overprovision, "must be at least 1")
	fault(!(t.PanicRatio <= 1), "PanicRatio", t.PanicRatio, "must not exceed 1; negative is off")
	return errors.Join(faults...)
}

// Split appends to parts what each level gets, nearest level first (Envoy's
// priority load): as much as its open members can carry of what nearer levels
// have left.
func (t Tiering) Split(levels []Level, parts []Part) []Part {
	t = t.withDefaults()
	carries, members := 0.0, 0
	for _, l := range levels {
		carries += t.carries(l)
		members += l.Total
	}
	left := 1.0
	for _, l := range levels {
		part := Part{Panic: carries < 1 && float64(l.Open) < t.PanicRatio*float64(l.Total)}
		switch {
		case carries > 0:
			part.Share = min(left, t.carries(l)/min(carries, 1))
		case members > 0: // nobody is open: as if all were
			part.Share = float64(l.Total) / float64(members)
		}
		left -= part.Share
		parts = append(parts, part)
	}
	return parts
}

// carries is the part of all calls that a level is trusted with.
func (t Tiering) carries(l Level) float64 {
	if l.Total == 0 {
		return 0
	}
	return min(t.Overprovision*float64(l.Open)/float64(l.Total), 1)
}

// Tiers is a picker over members at several distances. It looks at most once a
// second who is open, and keeps to its shares until then; a level that has nobody
// left for a pick passes it on.
type Tiers struct {
	tiering Tiering
	members []*Member
	levels  []tier
	due     atomic.Int64
}

type tier struct {
	pool   *Pool
	first  int           // of its members in the list of all
	upto   atomic.Uint64 // how much of 2^32 goes to this level and those before
	anyone atomic.Bool   // the level is in panic
}

// maxLevels bounds how many levels are told apart; the last one has the rest.
const maxLevels = 16

// NewTiers returns a picker over levels of members, nearest first, such as
// [ByDistance] makes. Each level has a pool with the same options.
func NewTiers(o Options, t Tiering, levels [][]*Member) (*Tiers, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	if len(levels) > maxLevels {
		levels = append(slices.Clone(levels[:maxLevels-1]), slices.Concat(levels[maxLevels-1:]...))
	}
	ts := &Tiers{tiering: t, levels: make([]tier, len(levels)), members: slices.Concat(levels...)}
	ts.due.Store(never)
	first := 0
	for i, members := range levels {
		pool, err := NewPool(o, members)
		if err != nil {
			return nil, err
		}
		ts.levels[i].pool, ts.levels[i].first = pool, first
		first += len(members)
	}
	return ts, nil
}

// never is a moment before all others.
const never = -1 << 63

// Members are those of all levels, nearest first. Read only.
func (t *Tiers) Members() []*Member { return t.members }

// Pick chooses a member, as the index into [Tiers.Members]. While a level is in
// panic, closed members of it may be chosen.
func (t *Tiers) Pick(info Info) int {
	if due := t.due.Load(); int64(info.Now) >= due && t.due.CompareAndSwap(due, int64(info.Now+time.Second)) {
		t.look(info.Now)
	}
	l := info.luck()
	info.Luck = l.next()
	x, start := l.next()>>32, 0
	for start < len(t.levels)-1 && x >= t.levels[start].upto.Load() {
		start++
	}
	stale := -1
	for k := range t.levels {
		tier := &t.levels[(start+k)%len(t.levels)]
		try := info
		try.Anyone = info.Anyone || tier.anyone.Load()
		i := tier.pool.Pick(try)
		if i < 0 {
			continue
		}
		if i += tier.first; !slices.Contains(info.Tried, t.members[i]) {
			return i
		}
		if stale < 0 {
			stale = i
		}
	}
	return stale
}

// Panic says whether closed members of any level are picked, as of the last look.
func (t *Tiers) Panic() bool {
	for i := range t.levels {
		if t.levels[i].anyone.Load() {
			return true
		}
	}
	return false
}

// look counts who is open and shares the picks out anew.
func (t *Tiers) look(now time.Duration) {
	var levels [maxLevels]Level
	var parts [maxLevels]Part
	for i := range t.levels {
		members := t.levels[i].pool.Members()
		levels[i].Total = len(members)
		for _, m := range members {
			if m.Open(now) {
				levels[i].Open++
			}
		}
	}
	sum := 0.0
	for i, part := range t.tiering.Split(levels[:len(t.levels)], parts[:0]) {
		sum += part.Share
		t.levels[i].upto.Store(uint64(sum*(1<<32) + 0.5))
		t.levels[i].anyone.Store(part.Panic)
	}
}
