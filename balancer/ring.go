package balancer

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// ring has some points of every member on a circle. A key is put on the circle
// several times, and belongs to the point that follows one of its places most
// closely (Appleton and O'Reilly, "Multi-Probe Consistent Hashing", 2015): that
// makes shares as even as sixty times as many points would. When a member
// leaves, its keys move and no others.
type ring struct {
	points []uint64 // in order
	owners []uint32 // of each point
	guide  []uint32 // the first point of each even part of the circle
	shift  int
}

const (
	// ringPoints is how many points a member has at least, of whatever weight
	// is usual.
	ringPoints = 256
	// ringMost bounds the points of all members unless the options ask for
	// more: above it members have fewer.
	ringMost = 1 << 20
	// probes is on how many places a key is put.
	probes = 16
)

func newRing(o Options, l list) *ring {
	scale := ringScale(o, l)
	type point struct {
		at    uint64
		owner uint32
	}
	var points []point
	for i, m := range l.members {
		id := m.ID()
		for k := range max(int(float64(l.weight(i))*scale), 1) {
			points = append(points, point{mix(id + uint64(k+1)*golden), uint32(i)})
		}
	}
	// Two members on one place are ordered by their IDs, not by the list.
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(l.members[a.owner].ID(), l.members[b.owner].ID()))
	})
	r := &ring{points: make([]uint64, len(points)), owners: make([]uint32, len(points))}
	for i, p := range points {
		r.points[i], r.owners[i] = p.at, p.owner
	}
	r.index()
	return r
}

// ringScale is how many points a member has per weight: a power of two, which
// stays the same through most changes of the list, so that other members' points
// stay where they are.
func ringScale(o Options, l list) float64 {
	sum := 0.0
	for i := range l.members {
		sum += float64(l.weight(i))
	}
	if sum == 0 {
		return 1
	}
	floor := func(x float64) float64 { return math.Exp2(math.Floor(math.Log2(x))) }
	scale := ringPoints / floor(sum/float64(len(l.members)))
	if sum*scale > ringMost {
		scale = floor(ringMost / sum)
	}
	if o.RingSize > 0 && sum*scale < float64(o.RingSize) {
		scale = 2 * floor(float64(o.RingSize)/sum)
	}
	if most := float64(cmp.Or(o.MaxRingSize, maxRing)); sum*scale > most {
		scale = floor(most / sum)
	}
	return scale
}

// index prepares find.
func (r *ring) index() {
	r.shift = 64 - bits.Len(uint(len(r.points)))
	r.guide = make([]uint32, 1<<(64-r.shift))
	at := 0
	for i := range r.guide {
		for at < len(r.points) && r.points[at] < uint64(i)<<r.shift {
			at++
		}
		r.guide[i] = uint32(at)
	}
}

// find returns the first point at or after a place.
func (r *ring) find(place uint64) uint32 {
	i := r.guide[place>>r.shift]
	for int(i) < len(r.points) && r.points[i] < place {
		i++
	}
	if int(i) == len(r.points) {
		return 0
	}
	return i
}

func (r *ring) owner(key uint64) uint32 {
	best, nearest := uint32(0), uint64(math.MaxUint64)
	for range probes {
		key += golden
		place := mix(key)
		i := r.find(place)
		if d := r.points[i] - place; d < nearest { // around the end, too
			best, nearest = i, d
		}
	}
	return r.owners[best]
}
