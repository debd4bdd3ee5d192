package balancer

import (
	"maps"
	"slices"
)

// Place says where an instance or a client is, as far as is known.
type Place struct {
	Datacenter, Region, Zone string
}

// Distances between places.
const (
	SameZone = iota
	SameRegion
	SameDatacenter
	Elsewhere

	// Distances is how many there are.
	Distances
)

// Distance returns how far it is from one place to another: [SameZone],
// [SameRegion], [SameDatacenter] or [Elsewhere]. A zone is one only within its
// region. For who does not know where it is itself, all is equally near; what is
// unknown about the other makes it far.
func (p Place) Distance(o Place) int {
	same := func(a, b string) bool { return a != "" && a == b }
	switch {
	case p == Place{}:
		return SameZone
	case same(p.Zone, o.Zone) && p.Region == o.Region:
		return SameZone
	case same(p.Region, o.Region):
		return SameRegion
	case same(p.Datacenter, o.Datacenter):
		return SameDatacenter
	default:
		return Elsewhere
	}
}

// ByDistance sorts members into levels for [NewTiers], nearest first, without
// empty levels. place and priority tell about each member; a higher priority
// number is used only when lower ones can not carry all, and comes before any
// distance. priority may be nil.
func ByDistance(from Place, members []*Member, place func(int) Place, priority func(int) int) [][]*Member {
	levels := map[int][]*Member{}
	for i, m := range members {
		level := from.Distance(place(i))
		if priority != nil {
			level += Distances * max(priority(i), 0)
		}
		levels[level] = append(levels[level], m)
	}
	sorted := make([][]*Member, 0, len(levels))
	for _, level := range slices.Sorted(maps.Keys(levels)) {
		sorted = append(sorted, levels[level])
	}
	return sorted
}

// ZoneShares returns how much of its calls a client should send to each zone so
// that calls stay in their zone as far as that loads no instance more than
// another (Envoy's zone-aware routing). own and upstream count the instances of
// the client's service and of the service that it calls, zone by zone; self is
// the client's zone. Clients of a zone that has more than its share of clients
// send the rest to zones that have less.
func ZoneShares(own, upstream []int, self int) []float64 {
	shares := make([]float64, len(upstream))
	mine, theirs := part(own, self), part(upstream, self)
	if mine <= theirs || mine == 0 {
		shares[self] = 1
		return shares
	}
	room := make([]float64, len(upstream))
	total := 0.0
	for z := range upstream {
		room[z] = max(part(upstream, z)-part(own, z), 0)
		total += room[z]
	}
	if total == 0 {
		shares[self] = 1
		return shares
	}
	shares[self] = theirs / mine
	for z := range room {
		shares[z] += (1 - theirs/mine) * room[z] / total
	}
	return shares
}

// part is the i-th count's part of all.
func part(counts []int, i int) float64 {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	if sum == 0 || i >= len(counts) {
		return 0
	}
	return float64(counts[i]) / float64(sum)
}
