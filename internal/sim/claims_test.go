package sim

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var seeds = flag.Int("seeds", worlds, "how many worlds each claim is tried in")

// scenario is a course of events that shows figures for some claims.
type scenario struct {
	name   string
	claims []claim
	run    func(seed uint64) []float64
}

// compared says whether a world is one of the few in which what has no goal is
// shown beside it.
func compared(seed uint64) bool { return seed <= 2 }

// claim is what a figure must be. A claim without a goal is there to compare.
type claim struct {
	says string
	goal string // "< 0.01", ">= 0.95"
}

func (c claim) holds(figure float64) bool {
	var goal float64
	var sign string
	if c.goal == "" {
		return true
	}
	if _, err := fmt.Sscan(c.goal, &sign, &goal); err != nil {
		return false
	}
	switch sign {
	case "<":
		return figure < goal
	case "<=":
		return figure <= goal
	case ">=":
		return figure >= goal
	default:
		return false
	}
}

// worst returns the figure that is farthest from the goal.
func (c claim) worst(figures []float64) float64 {
	if strings.HasPrefix(c.goal, ">") {
		return slices.Min(figures)
	}
	return slices.Max(figures)
}

var scenarios = []scenario{
	crowded,
	slowInstance(1), slowInstance(100), evenFleet, failingFast(10, 1), failingFast(10, 100), failingFast(2, 1), failingFast(2, 100),
	oneOfEleven, slowForMany, oneOfTwo,
	retryStorm, outage, overload, halfCritical, withinCapacity(true), withinCapacity(false), subsets, replaced, hedging,
}

// Every claim holds in every world.
func TestClaims(t *testing.T) {
	tables := make([]string, len(scenarios))
	t.Run("worlds", func(t *testing.T) {
		for i, s := range scenarios {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				tables[i] = s.table(t)
			})
		}
	})
	t.Logf("%d worlds each\n%-72s %10s %10s %10s\n%s", *seeds, "claim", "goal", "worst", "median", strings.Join(tables, ""))
}

// table tries the scenario's claims in all worlds and returns a line for each.
func (s scenario) table(t *testing.T) string {
	n := *seeds
	if testing.Short() {
		n = min(n, 3)
	}
	figures := make([][]float64, len(s.claims))
	for seed := range n {
		for i, figure := range s.run(uint64(seed) + 1) {
			figures[i] = append(figures[i], figure)
			if c := s.claims[i]; !c.holds(figure) {
				t.Errorf("seed %d: %s: %.4g, want %s", seed+1, c.says, figure, c.goal)
			}
		}
	}
	var table strings.Builder
	for i, c := range s.claims {
		worst := c.worst(figures[i])
		slices.Sort(figures[i])
		fmt.Fprintf(&table, "%-72s %10s %10.4g %10.4g\n", s.name+": "+c.says, c.goal, worst, figures[i][len(figures[i])/2])
	}
	return table.String()
}
