package balancer

import (
	"math/bits"
	"math/rand/v2"
	"sort"
)

// p2c draws two different members, each as likely as its weight says, and takes
// the one with fewer attempts in flight per weight (Mitzenmacher, "The Power of
// Two Choices in Randomized Load Balancing", 2001).
type p2c struct {
	members []*Member
	sums    []uint32 // running sums of the weights, nil while all are equal
}

// draws is how many pairs are tried before the members are searched in order.
const draws = 3

func newP2C(members []*Member) *p2c {
	p := &p2c{members: members}
	for _, m := range members {
		if m.Weight() != members[0].Weight() {
			p.sums = weightSums(members)
			break
		}
	}
	return p
}

// weightSums scales the weights so that their sum fits in 32 bits.
func weightSums(members []*Member) []uint32 {
	var total uint64
	for _, m := range members {
		total += uint64(m.Weight())
	}
	scale := max(total>>31+1, 1)
	sums, sum := make([]uint32, len(members)), uint32(0)
	for i, m := range members {
		sum += uint32(max(uint64(m.Weight())/scale, 1))
		sums[i] = sum
	}
	return sums
}

func (p *p2c) Pick(info Info) int {
	switch len(p.members) {
	case 0:
		return -1
	case 1:
		return firstFit(p.members, 0, info)
	}
	start := 0
	for range draws {
		i, j := p.pair()
		start = i
		a, b := p.members[i], p.members[j]
		aFresh, bFresh := info.fresh(a), info.fresh(b)
		switch {
		case aFresh && bFresh:
			if b.lighter(a) {
				return j
			}
			return i
		case aFresh:
			return i
		case bFresh:
			return j
		}
	}
	return firstFit(p.members, start, info)
}

// pair draws two different indexes from one random word.
func (p *p2c) pair() (int, int) {
	r, n := rand.Uint64(), uint32(len(p.members))
	if p.sums != nil {
		i := p.weighted(uint32(r >> 32))
		if j := p.weighted(uint32(r)); j != i {
			return i, j
		}
		return i, other(i, uint32(r), n)
	}
	i, _ := bits.Mul32(uint32(r>>32), n)
	return int(i), other(int(i), uint32(r), n)
}

// weighted turns a random word into an index, as likely as its weight.
func (p *p2c) weighted(r uint32) int {
	x, _ := bits.Mul32(r, p.sums[len(p.sums)-1])
	return sort.Search(len(p.sums), func(i int) bool { return p.sums[i] > x })
}

// other turns a random word into any index below n but i.
func other(i int, r, n uint32) int {
	j, _ := bits.Mul32(r, n-1)
	if int(j) >= i {
		j++
	}
	return int(j)
}
