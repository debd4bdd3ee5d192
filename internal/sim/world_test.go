package sim

import (
	"math"
	"math/rand/v2"
	"time"
)

// world is a clock, what is to happen, and chance.
type world struct {
	*rand.Rand
	now   time.Duration
	plans plans
	made  uint64
}

// start is not zero, so that no moment is mistaken for none.
const start = 1000 * time.Hour

func newWorld(seed uint64) *world {
	return &world{Rand: rand.New(rand.NewPCG(seed, 0x5eed)), now: start}
}

// after has something happen later.
func (w *world) after(d time.Duration, do func()) {
	w.made++
	w.plans.add(plan{w.now + d, w.made, do})
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	end := w.now + d
	for len(w.plans) > 0 && w.plans[0].at <= end {
		p := w.plans.next()
		w.now = p.at
		p.do()
	}
	w.now = end
}

// since is how long the world has been going on.
func (w *world) since() time.Duration { return w.now - start }

// arrivals calls do at random moments, so many times a second on the mean, until
// the world has been going on for so long.
func (w *world) arrivals(perSecond float64, until time.Duration, do func()) {
	gap := func() time.Duration { return time.Duration(w.ExpFloat64() / perSecond * float64(time.Second)) }
	var next func()
	next = func() {
		if w.since() < until {
			do()
			w.after(gap(), next)
		}
	}
	w.after(gap(), next)
}

// exp returns a random time with this mean.
func (w *world) exp(mean time.Duration) time.Duration {
	return time.Duration(w.ExpFloat64() * float64(mean))
}

// between returns a random time.
func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.Float64()*float64(b-a))
}

// plan is something that is to happen.
type plan struct {
	at  time.Duration
	nth uint64
	do  func()
}

// plans is a heap; the generic one of the standard library allocates for each.
// A world belongs to one goroutine, so that the race detector finds nothing here
// but takes a fifth of the time.
type plans []plan

//go:norace
func (p *plans) add(e plan) {
	h := append(*p, e)
	*p = h
	i := len(h) - 1
	for i > 0 && e.before(h[(i-1)/2]) {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = e
}

//go:norace
func (p *plans) next() plan {
	h := *p
	first, e := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	*p = h
	i := 0
	for {
		child := 2*i + 1
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if child >= len(h) || !h[child].before(e) {
			break
		}
		h[i] = h[child]
		i = child
	}
	if len(h) > 0 {
		h[i] = e
	}
	return first
}

func (p plan) before(o plan) bool { return p.at < o.at || p.at == o.at && p.nth < o.nth }

// server works on so many calls at once and lets the others stand in line; with
// no workers it works on all.
type server struct {
	*world
	workers int
	busy    int
	line    []func()
}

// serve does a piece of work and then calls done.
func (s *server) serve(work time.Duration, done func()) {
	begin := func() {
		s.after(work, func() {
			s.busy--
			if len(s.line) > 0 {
				next := s.line[0]
				s.line = s.line[1:]
				s.busy++
				next()
			}
			done()
		})
	}
	if s.workers > 0 && s.busy >= s.workers {
		s.line = append(s.line, begin)
		return
	}
	s.busy++
	begin()
}

// quantile returns what the q-th part of all stays below; it reorders them.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return nth(all, min(int(q*float64(len(all))), len(all)-1))
}

// nth returns what would stand there if all were sorted (Hoare, "Algorithm 65:
// find", 1961). Sorting takes several times as long.
//
//go:norace
func nth(all []time.Duration, n int) time.Duration {
	from, to := 0, len(all)-1
	for from < to {
		pivot := all[from+(to-from)/2]
		i, j := from, to
		for i <= j {
			for all[i] < pivot {
				i++
			}
			for all[j] > pivot {
				j--
			}
			if i <= j {
				all[i], all[j] = all[j], all[i]
				i++
				j--
			}
		}
		switch {
		case n <= j:
			to = j
		case n >= i:
			from = i
		default:
			return all[n]
		}
	}
	return all[n]
}

func share(part, of int) float64 {
	if of == 0 {
		return math.NaN()
	}
	return float64(part) / float64(of)
}
