package sim

import (
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/limit"
)

// gate is a server of ten workers behind an adaptive limit; calls that are let in
// stand in line for a worker.
type gate struct {
	*world
	work    func() time.Duration
	limit   *limit.Adaptive
	working plans // ends of work; no need to have the whole world wait
	line    []visit
	took    []time.Duration
	limits  []float64 // of each second
	all     counts
	over    bool // more comes than can be carried, so that much must be turned away
	shed    int  // else, calls that were turned away while nothing was being measured
}

// counts are of default calls and of critical ones.
type counts struct{ came, good [2]int }

type visit struct {
	leave limit.Leave
	came  time.Duration
	kind  int // 0, or 1 if it is critical
}

const (
	workers  = 10
	mean     = 80 * time.Millisecond
	capacity = float64(workers) * float64(time.Second) / float64(mean) // calls a second
)

// crowd is what a gate is offered.
type crowd struct {
	load     float64 // over what it can carry
	critical float64 // this part of it
	length   time.Duration
	even     bool // work of half to one and a half times the mean, else of exponential length
}

func (c crowd) come(seed uint64) *gate {
	w := newWorld(seed)
	g := &gate{world: w, over: c.load > 1, limit: limit.NewAdaptive("server", limit.AdaptiveOptions{Seed: seed})}
	g.work = func() time.Duration { return g.exp(mean) }
	if c.even {
		g.work = func() time.Duration { return g.between(mean/2, mean+mean/2) }
	}
	looked := w.now
	for next := w.now; w.since() < c.length; next += w.exp(time.Duration(float64(time.Second) / (c.load * capacity))) {
		for len(g.working) > 0 && g.working[0].at <= next {
			p := g.working.next()
			w.now = p.at
			p.do()
		}
		w.now = next
		if w.now-looked >= time.Second {
			looked = w.now
			g.limits = append(g.limits, float64(g.limit.Limit()))
		}
		g.enter(w.Float64() < c.critical)
	}
	return g
}

func (g *gate) enter(critical bool) {
	v, priority := visit{came: g.now}, limit.Default
	if critical {
		v.kind, priority = 1, limit.Critical
	}
	g.all.came[v.kind]++
	var err error
	if v.leave, err = g.limit.EnterAt(g.now, priority); err != nil {
		if !g.over {
			if _, measuring := g.limit.Baseline(); !measuring {
				g.shed++
			}
		}
		return
	}
	if len(g.working) < workers {
		g.begin(v)
	} else {
		g.line = append(g.line, v)
	}
}

func (g *gate) begin(v visit) {
	g.made++
	g.working.add(plan{g.now + g.work(), g.made, func() { g.end(v) }})
}

func (g *gate) end(v visit) {
	g.took = append(g.took, g.now-v.came)
	if g.now-v.came < 20*mean {
		g.all.good[v.kind]++
	}
	v.leave.DoneAt(g.now, call.OK)
	if len(g.line) > 0 {
		next := g.line[0]
		g.line = g.line[1:]
		g.begin(next)
	}
}

// carried returns the part that was answered in time, of calls of a kind.
func (c counts) carried(kind int) float64 { return share(c.good[kind], c.came[kind]) }

// average returns the mean limit of some seconds.
func (g *gate) average(from, to int) (sum float64) {
	for _, l := range g.limits[from:to] {
		sum += l
	}
	return sum / float64(to-from)
}

// overload offers twice what the server can carry for half an hour, a third of it
// critical.
var overload = scenario{
	name: "30 minutes at 2x capacity",
	claims: []claim{
		{"goodput over capacity", ">= 0.95"},
		{"p99 of accepted over the unloaded median", "< 10"},
		{"the limit of the last five minutes over that of the first", "<= 1.3"},
		{"the limit of the first five minutes over that of the last", "<= 1.3"},
		{"critical calls that are carried out", ">= 0.999"},
		{"(default calls that are carried out)", ""},
	},
	run: func(seed uint64) []float64 {
		const length = 30 * time.Minute
		g := crowd{load: 2, critical: 0.3, length: length}.come(seed)
		first, last := g.average(60, 360), g.average(len(g.limits)-300, len(g.limits))
		median := 0.6931 * float64(mean)
		return []float64{
			float64(g.all.good[0]+g.all.good[1]) / (capacity * length.Seconds()),
			float64(quantile(g.took, 0.99)) / median,
			last / first, first / last,
			g.all.carried(1), g.all.carried(0),
		}
	},
}

// halfCritical offers more than the server can carry, but half of it matters
// less.
var halfCritical = scenario{
	name: "1.6x capacity, half of it critical",
	claims: []claim{
		{"critical calls that are carried out", ">= 0.99"},
		{"default calls that are carried out, of the quarter that fits", ">= 0.1"},
	},
	run: func(seed uint64) []float64 {
		g := crowd{load: 1.6, critical: 0.5, length: 5 * time.Minute}.come(seed)
		return []float64{g.all.carried(1), g.all.carried(0)}
	},
}

// withinCapacity offers what the server can well carry. If the lengths of work
// vary as widely as chance alone has it, there is a real queue now and then, which
// the limit rightly takes for one.
func withinCapacity(even bool) scenario {
	name, goal := "0.7x capacity, work of exponential length", "<= 0.005"
	if even {
		name, goal = "0.7x capacity, work of much the same length", "<= 0"
	}
	return scenario{
		name: name,
		claims: []claim{
			{"calls turned away while nothing is measured", goal},
			{"calls that are carried out", ">= 0.98"},
		},
		run: func(seed uint64) []float64 {
			g := crowd{load: 0.7, length: 5 * time.Minute, even: even}.come(seed)
			return []float64{share(g.shed, g.all.came[0]), g.all.carried(0)}
		},
	}
}
