package sim

import (
	"time"

	"github.com/innermesh/innermesh/retry"
)

// hedging sends a second attempt when the first takes longer than 95 % of calls
// did lately, as long as the budget pays for it.
var hedging = scenario{
	name: "hedging at p95",
	claims: []claim{
		{"p99 over that without", "<= 0.2"},
		{"more load", "<= 0.06"},
		{"more load while all are ten times slower", "<= 0.06"},
	},
	run: func(seed uint64) []float64 {
		run := func(hedge bool, slower int64) (p99 time.Duration, more float64) {
			w := newWorld(seed)
			budget := retry.NewBudget(retry.BudgetOptions{Ratio: 0.06, Floor: -1})
			attempt := func() time.Duration {
				work := 5*time.Millisecond + w.exp(5*time.Millisecond)
				if w.Float64() < 0.02 {
					work += w.between(0, 500*time.Millisecond)
				}
				if w.since() > 20*time.Second {
					work = time.Duration(int64(work) * slower)
				}
				return work
			}
			var recent, all []time.Duration
			delay := time.Duration(1 << 62)
			calls, hedges := 0, 0
			w.arrivals(400, 40*time.Second, func() {
				calls++
				budget.Deposit(w.now)
				began, over := w.now, false
				answer := func() {
					if !over {
						over = true
						all = append(all, w.now-began)
						if recent = append(recent, w.now-began); len(recent) == 500 {
							delay = quantile(recent, 0.95)
							recent = recent[:0]
						}
					}
				}
				w.after(attempt(), answer)
				if hedge && delay < 1<<62 {
					w.after(delay, func() {
						if !over && budget.Withdraw(w.now) {
							hedges++
							w.after(attempt(), answer)
						}
					})
				}
			})
			w.run(50 * time.Second)
			return quantile(all, 0.99), share(hedges, calls)
		}
		without, _ := run(false, 1)
		with, more := run(true, 1)
		_, overload := run(true, 10)
		return []float64{float64(with) / float64(without), more, overload}
	},
}
