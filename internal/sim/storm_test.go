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
	layers  []*retry.Budget // nil while nobody has a budget
	sent    int             // to the leaf
	failing bool
}

const (
	layers   = 4 // three that call and the leaf
	attempts = 4 // the first and three retries
	tryTime  = 250 * time.Millisecond
)

// ask has a layer call the one below. done hears whether it was answered well,
// and if not, whether the layers above may try again.
func (g *graph) ask(layer int, done func(ok, again bool)) {
	if layer == layers-1 {
		g.work(done)
		return
	}
	if g.layers != nil {
		g.layers[layer].Deposit(g.now)
	}
	tries := 0
	var try func()
	try = func() {
		tries++
		g.ask(layer+1, func(ok, again bool) {
			switch {
			case ok:
				done(true, true)
			case g.layers == nil && tries < attempts:
				try()
			case g.layers != nil && again && tries < attempts && g.layers[layer].Withdraw(g.now):
				g.after(g.between(0, 25*time.Millisecond<<tries), try)
			default:
				// With budgets, who gave up says so: only the layer next to the
				// trouble tries again.
				done(false, g.layers == nil)
			}
		})
	}
	try()
}

// work is one attempt on the leaf, which goes on working when nobody waits any
// more.
func (g *graph) work(done func(ok, again bool)) {
	g.sent++
	over := false
	g.after(tryTime, func() {
		if !over {
			over = true
			done(false, true)
		}
	})
	fails := g.failing && g.Float64() < 0.5
	g.leaf.serve(g.exp(10*time.Millisecond), func() {
		if !over {
			over = true
			done(!fails, true)
		}
	})
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
		run := func(budget bool) (load, goodput float64) {
			const offered, fails, heals, end = 60, 20 * time.Second, 80 * time.Second, 95 * time.Second
			w := newWorld(seed)
			g := &graph{world: w, leaf: &server{world: w, workers: 1}}
			if budget {
				for range layers {
					g.layers = append(g.layers, retry.NewBudget(retry.BudgetOptions{}))
				}
			}
			calls, good := 0, 0
			w.arrivals(offered, end, func() {
				began := w.since()
				late := began >= heals+5*time.Second
				if late {
					calls++
				}
				g.ask(0, func(ok, _ bool) {
					if ok && late && w.since()-began < time.Second {
						good++
					}
				})
			})
			w.run(fails)
			g.failing, g.sent = true, 0
			w.run(heals - fails)
			load = float64(g.sent) / (offered * (heals - fails).Seconds())
			g.failing = false
			w.run(end - heals + 2*time.Second)
			return load, share(good, calls)
		}
		load, goodput := run(true)
		figures := []float64{load, goodput}
		if compared(seed) {
			storm, ruin := run(false)
			figures = append(figures, storm, ruin)
		}
		return figures
	},
}
