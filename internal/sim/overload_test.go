package sim

import (
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/limit"
)

// overload offers a server twice what it can carry for 30 minutes, a third of it
// critical. The server has ten workers, and work of exponential length.
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
		const (
			workers  = 10
			mean     = 80 * time.Millisecond
			length   = 30 * time.Minute
			critical = 0.3
		)
		w := newWorld(seed)
		a := limit.NewAdaptive("server", limit.AdaptiveOptions{Seed: seed})
		capacity := workers / mean.Seconds()
		var working plans // ends of work; no need to have the whole world wait
		type visit struct {
			leave    limit.Leave
			came     time.Duration
			critical bool
		}
		var line []visit
		var took []time.Duration
		var came, good [2]int
		kind := func(critical bool) int {
			if critical {
				return 1
			}
			return 0
		}
		var begin func(c visit)
		end := func(c visit) {
			took = append(took, w.now-c.came)
			if w.now-c.came < 20*mean {
				good[kind(c.critical)]++
			}
			c.leave.DoneAt(w.now, call.OK)
			if len(line) > 0 {
				next := line[0]
				line = line[1:]
				begin(next)
			}
		}
		begin = func(c visit) {
			w.made++
			working.add(plan{w.now + w.exp(mean), w.made, func() { end(c) }})
		}
		var limits []float64
		looked := w.now
		for next := w.now; w.since() < length; next += w.exp(time.Duration(float64(time.Second) / (2 * capacity))) {
			for len(working) > 0 && working[0].at <= next {
				p := working.next()
				w.now = p.at
				p.do()
			}
			w.now = next
			if w.now-looked >= time.Second {
				looked = w.now
				limits = append(limits, float64(a.Limit()))
			}
			c := visit{came: w.now, critical: w.Float64() < critical}
			priority := limit.Default
			if c.critical {
				priority = limit.Critical
			}
			came[kind(c.critical)]++
			var err error
			if c.leave, err = a.EnterAt(w.now, priority); err != nil {
				continue
			}
			if len(working) < workers {
				begin(c)
			} else {
				line = append(line, c)
			}
		}
		average := func(from, to int) (sum float64) {
			for _, l := range limits[from:to] {
				sum += l
			}
			return sum / float64(to-from)
		}
		first, last := average(60, 360), average(len(limits)-300, len(limits))
		median := 0.6931 * float64(mean)
		return []float64{
			float64(good[0]+good[1]) / (capacity * length.Seconds()),
			float64(quantile(took, 0.99)) / median,
			last / first, first / last,
			share(good[1], came[1]), share(good[0], came[0]),
		}
	},
}
