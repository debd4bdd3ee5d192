package balancer

import "time"

// peakEWMA draws two different members, each as likely as its weight says, and
// takes the one whose answer is expected first: how long its answers take times
// how many are ahead. How long is a memory of each client's own, which tells
// more than its few attempts in flight when a service has many clients.
type peakEWMA struct {
	pairs
	reported bool // members' own words count, too
	weights  []int32
	mean     float64 // of the weights
}

func newPeakEWMA(o Options, l list) *peakEWMA {
	p := &peakEWMA{pairs: newPairs(o, l), reported: o.Reported}
	if l.weights != nil {
		sum := 0.0
		for _, w := range l.weights {
			sum += float64(w)
		}
		p.weights, p.mean = l.weights, sum/float64(len(l.weights))
	}
	return p
}

func (p *peakEWMA) Pick(info Info) int {
	if len(p.members) < 2 {
		return firstFit(p.members, 0, info)
	}
	l := info.luck()
	start, crowded := 0, -1
	for range draws {
		i, j := p.pair(&l)
		start = i
		a, b := p.members[i], p.members[j]
		k := p.certain(i, j, a, b, &info, &l)
		if k == undecided {
			if k = i; p.slower(i, j, a, b, info.Now) {
				k = j
			}
		}
		switch {
		case k < 0:
		case p.reported && p.members[k].crowded(info.Now): // so is the other: there may be better ones
			crowded = k
		default:
			return k
		}
	}
	if crowded >= 0 {
		return crowded
	}
	return firstFit(p.members, start, info)
}

// slower says whether a is expected to answer after b.
func (p *peakEWMA) slower(i, j int, a, b *Member, now time.Duration) bool {
	ea, eb := a.estimate.at(now), b.estimate.at(now)
	switch { // who was never asked is taken for as fast as the other
	case ea == 0 && eb == 0:
		ea, eb = 1, 1
	case ea == 0:
		ea = eb
	case eb == 0:
		eb = ea
	}
	la, lb := a.load.Load(), b.load.Load()
	ea, eb = max(ea, a.silence(la, now)), max(eb, b.silence(lb, now))
	if p.reported {
		ea, eb = ea*a.pressure(now), eb*b.pressure(now)
	}
	if p.weights == nil {
		return ea*float64(1+la>>32) > eb*float64(1+lb>>32)
	}
	return ea*(1+float64(la>>32)*p.mean/float64(p.weights[i])) > eb*(1+float64(lb>>32)*p.mean/float64(p.weights[j]))
}

// silence is how long the member has answered nobody although somebody waits:
// the oldest attempt is at least that old, so answers take at least that long.
// It is how a member that hangs is noticed before its first attempt has failed.
func (m *Member) silence(load uint64, now time.Duration) float64 {
	if uint32(load) == 0 {
		return 0
	}
	return float64(int64(now) - m.heard.Load())
}
