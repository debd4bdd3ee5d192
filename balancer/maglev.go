package balancer

import (
	"cmp"
	"slices"
)

// maglev is a table of owners in which every member has as many places as its
// weight says, all but one place (Eisenbud et al., "Maglev: A Fast and Reliable
// Software Network Load Balancer", 2016): the members take turns, and each takes
// the next free place on a walk of its own. A pick looks up one place. When a
// member leaves, its keys move, and of the others' only few.
type maglev []uint32

// The sizes of tables.
const (
	smallTable = 65537
	bigTable   = 655373
	manyOwners = 1000
	maxTable   = 5000011 // Envoy's
)

// nobody marks a free place.
const nobody = ^uint32(0)

func newMaglev(o Options, l list) maglev {
	size := uint64(o.TableSize)
	if size == 0 {
		size = smallTable
		if len(l.members) > manyOwners {
			size = bigTable
		}
	}
	table := make(maglev, size)
	for i := range table {
		table[i] = nobody
	}
	if len(l.members) == 0 {
		return table
	}
	walks := newWalks(l, size)
	most := int64(l.even)
	if l.weights != nil {
		most = int64(slices.Max(l.weights))
	}
	for left := size; left > 0; {
		for i := range walks {
			w := &walks[i]
			if w.credit += int64(l.weight(int(w.member))); w.credit < most {
				continue // of less weight: not every turn is its own
			}
			w.credit -= most
			for table[w.at] != nobody {
				w.advance(size)
			}
			table[w.at] = w.member
			if left--; left == 0 {
				break
			}
		}
	}
	return table
}

// walk is a member's way through the table.
type walk struct {
	at, step uint64
	member   uint32
	credit   int64
}

// newWalks returns the members in the order of their IDs, which is the same in
// every client.
func newWalks(l list, size uint64) []walk {
	walks := make([]walk, len(l.members))
	for i := range walks {
		walks[i].member = uint32(i)
	}
	slices.SortFunc(walks, func(a, b walk) int { return cmp.Compare(l.members[a.member].ID(), l.members[b.member].ID()) })
	for i := range walks {
		id := l.members[walks[i].member].ID()
		walks[i].at = mix(id) % size
		walks[i].step = mix(id+golden)%(size-1) + 1
	}
	return walks
}

func (w *walk) advance(size uint64) {
	if w.at += w.step; w.at >= size {
		w.at -= size
	}
}

func (m maglev) owner(key uint64) uint32 { return m[mix(key)%uint64(len(m))] }

// prime says whether n is a prime number.
func prime(n int) bool {
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return n > 2 // a table of two has no walks
}
