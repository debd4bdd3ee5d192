package balancer

import "testing"

func TestRingSizeIsBounded(t *testing.T) {
	for _, c := range []struct {
		min, max    int
		least, most int
	}{
		{0, 0, 4 * ringPoints, 8 * ringPoints},
		{10_000, 0, 10_000, 40_000},
		{0, 100, 40, 100},
		{100, 100, 40, 100},
		{0, 1, 4, 4}, // each member has a point
	} {
		var l list
		for range 4 {
			m := new(Member)
			m.SetWeight(5)
			l.members = append(l.members, m)
		}
		l.even = 5
		r := newRing(Options{RingSize: c.min, MaxRingSize: c.max}, l)
		if n := len(r.points); n < c.least || n > c.most {
			t.Errorf("%d to %d wanted: %d points", c.min, c.max, n)
		}
	}
}
