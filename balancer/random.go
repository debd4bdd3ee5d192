package balancer

// random takes any member, as likely as its weight says.
type random struct{ pairs }

func newRandom(o Options, l list) *random { return &random{newPairs(o, l)} }

func (r *random) Pick(info Info) int {
	if len(r.members) < 2 {
		return firstFit(r.members, 0, info)
	}
	l := info.luck()
	i := r.one(uint32(uint64(l) >> 32))
	for range draws {
		m := r.members[i]
		if info.fresh(m) && (m.fresh.Load() == 0 || l.chance() < m.warmth(info.Now, r.slowStart)) {
			return i
		}
		i = r.one(uint32(l.next()))
	}
	return firstFit(r.members, i, info)
}
