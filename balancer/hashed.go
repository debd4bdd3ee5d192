package balancer

import (
	"math"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// Hash returns the key of a pick, or the ID of a member, for a name: xxHash64, the
// same in every process. It is never 0.
func Hash(name string) uint64 { return max(xxhash.Sum64String(name), 1) }

// hashed takes the owner of the pick's key, and the key's next owner if that one
// is closed, was tried or carries more than its bound (Mirrokni et al.,
// "Consistent Hashing with Bounded Loads", 2018). Who is next is drawn from the
// key alone: the keys of an owner that is out go to all others, not to one, and
// every client knows where.
type hashed struct {
	list
	owners owners
	bound  float64 // times the mean, 0 is none
	gauge  gauge
}

// owners says to which member a key belongs.
type owners interface{ owner(key uint64) uint32 }

// heirs is how many owners of a key are asked, the same ones again included,
// before one is taken beyond its bound. All are full only if one key is most of
// the traffic.
const heirs = 64

func newHashed(o Options, l list, by owners) *hashed {
	h := &hashed{list: l, owners: by, bound: max(o.Balance, 0)}
	if h.bound > 0 && len(l.members) > 0 {
		h.gauge.begin(l)
	}
	return h
}

func (h *hashed) Pick(info Info) int {
	if len(h.members) < 2 {
		return firstFit(h.members, 0, info)
	}
	key := info.Key
	if key == 0 {
		key = uint64(info.luck())
	}
	if h.bound > 0 {
		h.gauge.read(h.members)
	}
	first, best := -1, -1
	for range heirs {
		i := int(h.owners.owner(key))
		if first < 0 {
			first = i
		}
		if m := h.members[i]; info.fresh(m) {
			if h.room(i, m) {
				return i
			}
			if best < 0 || m.lighter(h.members[best]) {
				best = i
			}
		}
		key = mix(key + golden)
	}
	if best >= 0 {
		return best
	}
	return firstFit(h.members, first, info)
}

// room says whether the member stays within its bound if it takes one more.
func (h *hashed) room(i int, m *Member) bool {
	load := m.Inflight()
	if h.bound == 0 || load == 0 {
		return true
	}
	fair := float64(h.gauge.total.Load()+1) * float64(h.weight(i)) / h.gauge.weight
	return float64(load+1) <= math.Ceil(fair*h.bound)
}

// gauge knows about how much all members carry together. Nobody counts that, for
// it would be a word that every attempt of every member fights for; instead each
// pick looks at a few members, in turn.
type gauge struct {
	weight float64
	total  atomic.Int64
	at     atomic.Uint32
	seen   []atomic.Int32
}

// glances is how many members a pick looks at.
const glances = 4

func (g *gauge) begin(l list) {
	g.seen = make([]atomic.Int32, len(l.members))
	for i, m := range l.members {
		load := m.Inflight()
		g.seen[i].Store(int32(load))
		g.total.Add(int64(load))
		g.weight += float64(l.weight(i))
	}
}

func (g *gauge) read(members []*Member) {
	n := uint32(len(members))
	at := g.at.Add(glances)
	for k := range min(n, glances) {
		i := (at + k) % n
		load := int32(members[i].Inflight())
		if was := g.seen[i].Load(); was != load && g.seen[i].CompareAndSwap(was, load) {
			g.total.Add(int64(load - was))
		}
	}
}
