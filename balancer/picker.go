package balancer

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"
)

// Picker chooses among the members it was built with.
//
// Pick returns the index of a member, or -1 if none may be picked now. It never
// blocks and never returns a closed member, unless it is told to. It returns a member that was tried
// already only if every open one was. Safe for concurrent use.
type Picker interface {
	Pick(Info) int
}

// Info is what a picker may know about an attempt.
type Info struct {
	// Now is the moment of the pick, on the clock of [Member.CloseUntil].
	Now time.Duration
	// Tried are the members that this call has been to already.
	Tried []*Member
	// Key is what hashing pickers go by, see [Hash]; 0 is no key, and the pick
	// goes anywhere.
	Key uint64
	// Anyone lets closed members be picked as well, which is what a view does
	// when too many are closed to be believed.
	Anyone bool
	// Luck is a random word that decides everything which is left to chance.
	// Default 0: the picker draws one itself. Simulations give their own.
	Luck uint64
}

func (i *Info) open(m *Member) bool { return m.Open(i.Now) || i.Anyone }

func (i *Info) fresh(m *Member) bool {
	return i.open(m) && (len(i.Tried) == 0 || !slices.Contains(i.Tried, m))
}

func (i *Info) luck() luck {
	if i.Luck != 0 {
		return luck(i.Luck)
	}
	return luck(rand.Uint64())
}

// luck is a random word that makes further ones when it is used up.
type luck uint64

// next returns another word (Steele, Lea, Flood: SplitMix, 2014).
func (l *luck) next() uint64 {
	*l += golden
	return mix(uint64(*l))
}

// chance returns a number from 0 to 1.
func (l *luck) chance() float64 { return float64(l.next()>>11) / (1 << 53) }

// golden is 2^64 divided by the golden ratio, odd.
const golden = 0x9e3779b97f4a7c15

// mix makes every bit of the result depend on every bit of x.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// below turns a random word into a number from 0 to n-1.
func below(r, n uint32) uint32 {
	hi, _ := bits.Mul32(r, n)
	return hi
}

// New builds a picker over members; an empty policy means [P2C]. The slice is
// kept and must not change. Who needs more than a name uses [NewPool].
func New(p Policy, members []*Member) (Picker, error) {
	return NewPool(Options{Policy: p}, members)
}

// firstFit is the way out when luck did not find a member: the first fresh one
// from start on, else the first open one, else none.
func firstFit(members []*Member, start int, info Info) int {
	open := -1
	for k := range members {
		i := start + k
		if i >= len(members) {
			i -= len(members)
		}
		if info.fresh(members[i]) {
			return i
		}
		if open < 0 && info.open(members[i]) {
			open = i
		}
	}
	return open
}
