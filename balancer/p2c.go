package balancer

import "time"

// p2c draws two different members, each as likely as its weight says, and takes
// the one with fewer attempts in flight per weight (Mitzenmacher, "The Power of
// Two Choices in Randomized Load Balancing", 2001). With more choices it goes on
// drawing.
type p2c struct {
	pairs
	choices int
}

func newP2C(o Options, l list) *p2c {
	choices := 2
	if o.Policy == LeastRequest {
		choices = o.Choices
	}
	return &p2c{pairs: newPairs(o, l), choices: choices}
}

func (p *p2c) Pick(info Info) int {
	if len(p.members) < 2 {
		return firstFit(p.members, 0, info)
	}
	l := info.luck()
	i, j := p.pair(&l)
	best := p.better(i, j, &info, &l)
	for range p.choices - 2 {
		if k := p.one(uint32(l.next())); k != best && best >= 0 {
			best = p.better(best, k, &info, &l)
		}
	}
	for range draws - 1 {
		if best >= 0 {
			return best
		}
		i, j = p.pair(&l)
		best = p.better(i, j, &info, &l)
	}
	if best < 0 {
		return firstFit(p.members, i, info)
	}
	return best
}

// better returns which of two fresh members carries less, or the fresh one of
// the two, or -1.
func (p *p2c) better(i, j int, info *Info, l *luck) int {
	a, b := p.members[i], p.members[j]
	k := p.certain(i, j, a, b, info, l)
	switch {
	case k != undecided:
		return k
	case b.lighter(a):
		return j
	default:
		return i
	}
}

// pairs draws members two at a time.
type pairs struct {
	members   []*Member
	shares    *shares // nil while all weights are the same
	slowStart time.Duration
}

// draws is how many pairs are tried before the members are searched in order.
const draws = 3

// undecided says that both members of a pair may be picked.
const undecided = -2

func newPairs(o Options, l list) pairs {
	p := pairs{members: l.members, slowStart: o.SlowStart}
	if l.weights != nil {
		p.shares = newShares(l.weights)
	}
	return p
}

// certain decides a pair of which not both are fresh, or one is in slow start:
// that one steps back as often as its warmth says, which makes its share grow
// evenly. It returns undecided if they must be compared.
func (p *pairs) certain(i, j int, a, b *Member, info *Info, l *luck) int {
	switch aFresh, bFresh := info.fresh(a), info.fresh(b); {
	case aFresh && bFresh:
	case aFresh:
		return i
	case bFresh:
		return j
	default:
		return -1
	}
	if a.fresh.Load()|b.fresh.Load() == 0 {
		return undecided
	}
	switch wa, wb := a.warmth(info.Now, p.slowStart), b.warmth(info.Now, p.slowStart); {
	case wa < wb && l.chance()*wb >= wa:
		return j
	case wb < wa && l.chance()*wa >= wb:
		return i
	default:
		return undecided
	}
}

// pair draws two different indexes from one random word, if it is enough.
func (p *pairs) pair(l *luck) (int, int) {
	r, n := uint64(*l), uint32(len(p.members))
	*l += golden
	if p.shares == nil {
		i := below(uint32(r>>32), n)
		return int(i), other(i, uint32(r), n)
	}
	i, j := p.shares.draw(uint32(r>>32)), p.shares.draw(uint32(r))
	for range draws {
		if i != j {
			return i, j
		}
		j = p.shares.draw(uint32(l.next()))
	}
	if i == j {
		j = other(uint32(i), uint32(r), n)
	}
	return i, j
}

// one draws an index.
func (p *pairs) one(r uint32) int {
	if p.shares == nil {
		return int(below(r, uint32(len(p.members))))
	}
	return p.shares.draw(r)
}

// other turns a random word into any index below n but i.
func other(i, r, n uint32) int {
	j := below(r, n-1)
	if j >= i {
		j++
	}
	return int(j)
}
