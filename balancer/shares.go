package balancer

import "math"

// shares turns numbers into indexes, each index as often as its weight says. It
// looks up in constant time whatever the weights are: a guide says where in the
// running sums to begin (Chen and Asau, "On Generating Random Variates from an
// Empirical Distribution", 1974), and it is built in two passes.
type shares struct {
	sums  []uint32
	guide []uint32
	total uint32
}

// newShares scales the weights so that their sum fits in 32 bits.
func newShares(weights []int32) *shares {
	var total uint64
	for _, w := range weights {
		total += uint64(w)
	}
	scale := int32(total>>31 + 1)
	s := &shares{sums: make([]uint32, len(weights)), guide: make([]uint32, len(weights))}
	sum := uint32(0)
	for i, w := range weights {
		if scale > 1 {
			w = max(w/scale, 1)
		}
		sum += uint32(w)
		s.sums[i] = sum
	}
	s.total = sum
	n, at := uint64(len(weights)), uint32(0)
	for i := range s.guide {
		first := uint32(uint64(i) * uint64(sum) / n)
		for s.sums[at] <= first {
			at++
		}
		s.guide[i] = at
	}
	return s
}

// draw turns a random word into an index.
func (s *shares) draw(r uint32) int {
	return s.from(s.guide[below(r, uint32(len(s.guide)))], below(r, s.total))
}

// of returns whose part of the circle x is in; x must be below the total.
func (s *shares) of(x uint32) int {
	return s.from(s.guide[uint64(x)*uint64(len(s.guide))/uint64(s.total)], x)
}

func (s *shares) from(i, x uint32) int {
	for s.sums[i] <= x {
		i++
	}
	return int(i)
}

// stride is the step with which a walk around a circle of n visits every place
// once a round, and in any few steps comes close to every place: of the numbers
// around n divided by the golden ratio the one whose ratio to n is the hardest to
// approach by simple fractions, which are what makes walks lumpy.
func stride(n uint32) uint32 {
	near := max(uint32(float64(n)/math.Phi), 1)
	best, least := uint32(1), lumps(1, n)
	for s := max(near, 33) - 32; s < min(near+32, n); s++ {
		if l := lumps(s, n); l < least {
			best, least = s, l
		}
	}
	return best
}

// lumps is the largest term of the continued fraction of s/n, or more than any
// if the two have a common divisor.
func lumps(s, n uint32) (most uint32) {
	for s != 0 {
		most = max(most, n/s)
		n, s = s, n%s
	}
	if n != 1 {
		return math.MaxUint32
	}
	return most
}
