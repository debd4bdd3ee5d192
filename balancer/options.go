package balancer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Policy is the name of an algorithm.
type Policy string

// The algorithms.
const (
	// P2C takes the less loaded of two different members drawn at random.
	P2C Policy = "p2c"
	// PeakEWMA takes the one that is expected to answer first of two different
	// members drawn at random, by how long its answers take and how much it is
	// carrying.
	PeakEWMA Policy = "peak_ewma"
	// LeastRequest takes the least loaded of some different members drawn at
	// random.
	LeastRequest Policy = "least_request"
	// RoundRobin takes one after the other, from a random start.
	RoundRobin Policy = "round_robin"
	// WeightedRoundRobin takes each as often as its weight says, evenly mixed.
	WeightedRoundRobin Policy = "weighted_round_robin"
	// Random takes any, as likely as its weight says.
	Random Policy = "random"
	// RingHash takes the owner of the pick's key on a ring of points.
	RingHash Policy = "ring_hash"
	// Maglev takes the owner of the pick's key in a table.
	Maglev Policy = "maglev"
)

// Policies returns all algorithms.
func Policies() []Policy {
	return []Policy{P2C, PeakEWMA, LeastRequest, RoundRobin, WeightedRoundRobin, Random, RingHash, Maglev}
}

// hashes says whether the algorithm goes by the key of a pick.
func (p Policy) hashes() bool { return p == RingHash || p == Maglev }

// Options say how members are chosen. The zero value is the documented default.
type Options struct {
	// Policy is the algorithm. Default [P2C].
	Policy Policy
	// Choices is how many members [LeastRequest] draws, 2 to 100. Default 2.
	Choices int
	// Reported has [PeakEWMA] also go by what members say they carry, see
	// [Member.Report]: who carries half of what it can is taken for twice as slow,
	// and if four fifths or more others are looked for.
	// Default: it goes by what it sees itself.
	Reported bool
	// SlowStart is how long a member takes from a tenth of its share to all of
	// it after [Member.Warm]. Default 30 s; negative: it has its share at once.
	// Hashing algorithms do not look at it.
	SlowStart time.Duration
	// Balance bounds the load of the owner of a key: it may carry this many
	// times the mean, else the pick goes on to the key's next owner. Above 1.
	// Default 1.5; negative: owners are not bounded.
	Balance float64
	// RingSize is how many points the ring of [RingHash] has at least; more of
	// them share more evenly. Default 256 a member, at most 8388608.
	RingSize int
	// MaxRingSize is how many points it has at most, though always one a member.
	// It wins over all that asks for more. Default and most: 8388608.
	MaxRingSize int
	// TableSize is the size of the table of [Maglev], a prime number; all clients
	// must have the same. When one of n members leaves, a table of 65537 moves
	// up to 1.2/n of the keys as long as there are no more than 40 members, one
	// of 655373 up to 100; a ring moves 1/n always. Default 65537, or 655373
	// above a thousand members.
	TableSize int
}

// maxRing is Envoy's.
const maxRing = 8 << 20

func (o Options) withDefaults() Options {
	o.Policy = cmp.Or(o.Policy, P2C)
	o.Choices = cmp.Or(o.Choices, 2)
	o.SlowStart = cmp.Or(o.SlowStart, 30*time.Second)
	o.Balance = cmp.Or(o.Balance, 1.5)
	return o
}

// Validate names every field that is out of range.
func (o Options) Validate() error {
	var faults []error
	fault := func(bad bool, field string, value any, rule string) {
		if bad {
			faults = append(faults, fmt.Errorf("%s is %v: %s", field, value, rule))
		}
	}
	if o.Policy != "" && !slices.Contains(Policies(), o.Policy) {
		var known []string
		for _, p := range Policies() {
			known = append(known, string(p))
		}
		faults = append(faults, fmt.Errorf("balancer policy %q: want one of %s", o.Policy, strings.Join(known, ", ")))
	}
	fault(o.Choices != 0 && (o.Choices < 2 || o.Choices > 100), "Choices", o.Choices, "must be 2 to 100")
	fault(o.Balance != o.Balance || o.Balance > 0 && o.Balance <= 1, "Balance", o.Balance, "must be above 1, or negative for off")
	fault(o.RingSize < 0 || o.RingSize > maxRing, "RingSize", o.RingSize, fmt.Sprintf("must be 1 to %d", maxRing))
	fault(o.MaxRingSize < 0 || o.MaxRingSize > maxRing, "MaxRingSize", o.MaxRingSize, fmt.Sprintf("must be 1 to %d", maxRing))
	fault(o.MaxRingSize > 0 && o.RingSize > o.MaxRingSize, "RingSize", o.RingSize, "must not be above MaxRingSize")
	fault(o.TableSize != 0 && (o.TableSize > maxTable || !prime(o.TableSize)), "TableSize", o.TableSize,
		fmt.Sprintf("must be a prime number up to %d", maxTable))
	return errors.Join(faults...)
}
