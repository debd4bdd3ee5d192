package balancer

import (
	"cmp"
	"math/bits"
	"slices"
)

// When a service is subset, and how small.
const (
	// SubsetAbove is the number of instances up to which every client knows all.
	SubsetAbove = 100
	// SubsetLeast is how many instances a client knows at least.
	SubsetLeast = 20
	// SubsetMost is how many it knows at most.
	SubsetMost = 100
	// subsetClients is how many clients an instance should have, if there are
	// that many.
	subsetClients = 100
)

// SubsetSize returns how many of a service's instances one of its clients should
// know, 0 for all. clients is how many there are, 0 if nobody knows.
func SubsetSize(instances, clients int) int {
	size := SubsetLeast
	if clients > 0 {
		size = min(max((subsetClients*instances+clients-1)/clients, SubsetLeast), SubsetMost)
	}
	if instances <= max(SubsetAbove, 2*size) {
		return 0
	}
	return size
}

// Seat is where a client sits on the [Circle] of a service, given its number among
// the clients of the service: 0, 1, 2 and so on without gaps, kept when others
// come and go (an ordinal of a StatefulSet, an index of an allocation). Such
// seats are even however many are taken: they are the van der Corput sequence,
// as in Ward and others, "Reinventing Backend Subsetting at Google", 2022. A client
// without a number sits at the [Hash] of its name; then instances have as many
// clients as chance has it.
func Seat(ordinal int) uint64 { return bits.Reverse64(uint64(ordinal)) }

// Subset returns which instances a client should know, as indexes into ids, the
// hashes of the instances' names: those that follow the client's seat on the
// [Circle] of all. All are returned if there are no more than size.
//
// With seats from [Seat], each instance has its fair number of clients within a
// quarter where that is about 20, and more closely where it is more. When an
// instance comes or goes, a client's subset changes by two at most, and by none
// for nearly all clients of a large service: with 20 of 1000 instances, replacing
// one by another name changes an eighth of the subsets as a rule. Weights play no
// part.
func Subset(ids []uint64, seat uint64, size int) []int {
	return NewCircle(ids).Subset(seat, size)
}

// Circle has the instances of a service in the order of their hashes. It depends
// on nothing else: every client that knows the same instances sees the same
// circle, in whatever order and after whatever history it came to know them.
//
// If instances lay on the circle at their hashes, some would have four times the
// clients of others. If they lay at even distances, every instance that comes
// would push all the others. So each stays as near to its hash as it can without
// coming closer to the one before it, or farther from it, than an eighth more or
// less than the mean: a push runs out within some dozens of instances.
type Circle struct {
	order []int    // indexes into the list that the circle was made of
	after []uint64 // how far behind the first each one lies
	first uint64   // where the first one lies
}

// NewCircle returns the circle of instances with these hashes.
func NewCircle(ids []uint64) *Circle {
	spots := spread(ids)
	c := &Circle{order: make([]int, len(ids)), after: make([]uint64, len(ids))}
	if len(ids) == 0 {
		return c
	}
	mean := ^uint64(0) / uint64(len(ids))
	closest, farthest := int64(mean-mean/8), int64(mean+mean/8)
	place := spots[0].hash
	for lap := range 2 { // a second one, because the first began with a place that nobody pushed
		for k, s := range spots {
			c.order[k] = s.index
			if lap+k > 0 {
				gap := int64(s.hash - place) // below zero: pushed beyond its hash
				place += uint64(min(max(gap, closest), farthest))
			}
			if k == 0 {
				c.first = place
			}
			c.after[k] = place - c.first
		}
	}
	return c
}

// spot is where an instance's hash lies.
type spot struct {
	hash  uint64
	index int // in the list that the circle is made of
}

// spread returns the instances in the order of their hashes. These lie evenly, so
// that each instance's place is known to within a few, and the rest is done by
// looking at its neighbours: the work grows with their number alone.
func spread(ids []uint64) []spot {
	bucket := func(hash uint64) uint64 {
		hi, _ := bits.Mul64(hash, uint64(len(ids)))
		return hi
	}
	next := make([]int, len(ids)+1)
	for _, id := range ids {
		next[bucket(mix(id))+1]++
	}
	for b := range ids {
		next[b+1] += next[b]
	}
	spots := make([]spot, len(ids))
	for i, id := range ids {
		s := spot{mix(id), i}
		b := bucket(s.hash)
		spots[next[b]] = s
		next[b]++
	}
	from := 0
	for _, end := range next[:len(ids)] {
		slices.SortFunc(spots[from:end], func(a, b spot) int { return cmp.Compare(a.hash, b.hash) })
		from = end
	}
	return spots
}

// Subset returns the size instances that follow a seat.
func (c *Circle) Subset(seat uint64, size int) []int {
	if size >= len(c.order) {
		return slices.Clone(c.order)
	}
	from, _ := slices.BinarySearch(c.after, seat-c.first)
	subset := make([]int, 0, size)
	for k := range size {
		subset = append(subset, c.order[(from+k)%len(c.order)])
	}
	return subset
}
