package drill

import (
	"math"
	"testing"
)

// binomial is the interval in which the number of hits among n draws lies with a
// probability of 99.9 %, each draw being a hit with the probability p: what is
// below and what is above have half of the rest at most each.
func binomial(n int, p float64) (from, to int) {
	const tail = 0.0005
	from, to = 0, n
	for below := chance(n, 0, p); from < n && below <= tail; below += chance(n, from, p) {
		from++
	}
	for above := chance(n, n, p); to > 0 && above <= tail; above += chance(n, to, p) {
		to--
	}
	return from, to
}

// chance is that of exactly k hits.
func chance(n, k int, p float64) float64 {
	switch {
	case p <= 0 || p >= 1:
		if (k == 0) == (p <= 0) && (k == n) == (p >= 1) {
			return 1
		}
		return 0
	default:
		lgamma := func(x int) float64 { v, _ := math.Lgamma(float64(x + 1)); return v }
		return math.Exp(lgamma(n) - lgamma(k) - lgamma(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
	}
}

func TestBinomial(t *testing.T) {
	for _, c := range []struct {
		n        int
		p        float64
		from, to int
	}{
		{10, 0, 0, 0}, {10, 1, 10, 10}, // nothing is left to chance
		{1, 0.5, 0, 1},
		{20, 0.5, 3, 17},     // 211 of 2²⁰ throws have two heads at most, 1351 three
		{1000, 0.1, 70, 132}, // summed exactly; the normal approximation says 100 ± 3.29·9.49
	} {
		if from, to := binomial(c.n, c.p); from != c.from || to != c.to {
			t.Errorf("of %d at %v: %d to %d, want %d to %d", c.n, c.p, from, to, c.from, c.to)
		}
	}
}
