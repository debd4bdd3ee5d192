package sim

import (
	"time"

	"github.com/innermesh/innermesh/retry"
)

// graph is a chain of services; each calls the next, and tries again when that
// fails.
type graph struct {
	*world
	leaf    *server
	budgets []*retry.Budget // of the layers that call, from the top
	depth   int             // layers that call
	bounded bool            // the budgets count
	mute    bool            // who gives up does not say so, and all layers try again
	sent    int             // to the leaf
	fails   float64         // the part of the leaf's calls that fails; with 1 it is gone
}

const (
	attempts = 4 // the first and three retries
	tryTime  = 250 * time.Millisecond
)

func newGraph(w *world, depth, workers int) *graph {
	g := &graph{world: w, leaf: &server{world: w, workers: workers}, depth: depth, bounded: true}
	for range depth {
		g.budgets = append(g.budgets, retry.NewBudget(retry.BudgetOptions{}))
	}
	return g
}

// ask has a layer call the one below. done hears whether it was answered well,
// and if not, whether the layers above may try again.
func (g *graph) ask(layer int, done func(ok, again bool)) {
	if layer == g.depth {
		g.work(done)
		return
	}
	g.budgets[layer].Deposit(g.now)
	tries := 0
	var try func()
	try = func() {
		tries++
		g.ask(layer+1, func(ok, again bool) {
			switch {
			case ok:
				done(true, true)
			case !g.bounded && tries < attempts:
				try()
			case g.bounded && again && tries < attempts && g.budgets[layer].Withdraw(g.now):
				g.after(g.between(0, 25*time.Millisecond<<tries), try)
			default:
				// With budgets, who gave up says so: only the layer next to the
				// trouble tries again.
				done(false, !g.bounded || g.mute)
			}
		})
	}
	try()
}

// work is one attempt on the leaf, which goes on working when nobody waits any
// more.
func (g *graph) work(done func(ok, again bool)) {
	g.sent++
	if g.fails == 1 {
		g.after(time.Millisecond, func() { done(false, true) })
		return
	}
	over := false
	g.after(tryTime, func() {
		if !over {
			over = true
			done(false, true)
		}
	})
	fails := g.fails > 0 && g.Float64() < g.fails
	g.leaf.serve(g.exp(10*time.Millisecond), func() {
		if !over {
			over = true
			done(!fails, true)
		}
	})
}

// storm is a time of failures in a graph that had none before.
type storm struct {
	offered float64       // calls a second
	length  time.Duration // of the trouble
	fails   float64
}

// over returns how much load the leaf has meanwhile, over what is offered, and the
// part of the calls that are answered within a second from 5 s after it on.
func (s storm) over(g *graph) (load, goodput float64) {
	const calm, after = 20 * time.Second, 15 * time.Second
	healed := calm + s.length
	calls, good := 0, 0
	g.arrivals(s.offered, healed+after, func() {
		began := g.since()
		late := began >= healed+5*time.Second
		if late {
			calls++
		}
		g.ask(0, func(ok, _ bool) {
			if ok && late && g.since()-began < time.Second {
				good++
			}
		})
	})
	g.run(calm)
	g.fails, g.sent = s.fails, 0
	g.run(s.length)
	load = float64(g.sent) / (s.offered * s.length.Seconds())
	g.fails = 0
	g.run(after + 2*time.Second)
	return load, share(good, calls)
}

// retryStorm has the leaf of a call graph fail half of its calls for a minute,
// while it carries three fifths of what it could.
var retryStorm = scenario{
	name: "four deep, the leaf fails half",
	claims: []claim{
		{"load on the leaf with budget", "< 1.3"},
		{"goodput 5 s after healing, with budget", ">= 0.95"},
		{"(load on the leaf without)", ">= 2"},
		{"(goodput 5 s after healing, without)", "< 0.5"},
	},
	run: func(seed uint64) []float64 {
		half := storm{offered: 60, length: time.Minute, fails: 0.5}
		load, goodput := half.over(newGraph(newWorld(seed), 3, 1))
		figures := []float64{load, goodput}
		if compared(seed) {
			unbounded := newGraph(newWorld(seed), 3, 1)
			unbounded.bounded = false
			load, goodput = half.over(unbounded)
			figures = append(figures, load, goodput)
		}
		return figures
	},
}

// outage has the leaf gone altogether, below four layers that each try again. If
// none hears that the one below has done so, a fifth more comes from each: 1.2 to
// the fourth is 2.07.
var outage = scenario{
	name: "the leaf is gone, 1000 calls a second, four layers above",
	claims: []claim{
		{"load on the leaf", "<= 1.3"},
		{"load on the leaf if no layer says that it gave up", "<= 2.2"},
		{"goodput 5 s after healing", ">= 0.95"},
		{"goodput 5 s after healing if no layer says so", ">= 0.95"},
		{"(load on the leaf without budget)", ""},
	},
	run: func(seed uint64) []float64 {
		const workers = 17 // which carry 1700 a second
		gone := storm{offered: 1000, length: 20 * time.Second, fails: 1}
		load, goodput := gone.over(newGraph(newWorld(seed), 4, workers))
		mute := newGraph(newWorld(seed), 4, workers)
		mute.mute = true
		most, least := gone.over(mute)
		figures := []float64{load, most, goodput, least}
		if compared(seed) {
			unbounded := newGraph(newWorld(seed), 4, workers)
			unbounded.bounded = false
			ruin, _ := storm{offered: 10, length: 5 * time.Second, fails: 1}.over(unbounded)
			figures = append(figures, ruin)
		}
		return figures
	},
}
