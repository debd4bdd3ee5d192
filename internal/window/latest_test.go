package window_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/innermesh/innermesh/internal/window"
)

func TestLatest(t *testing.T) {
	const most = 3
	var l window.Latest[int]
	for n := range 10 {
		want := []int{}
		for i := max(n-most, 0); i < n; i++ {
			want = append(want, i)
		}
		if got := l.All(); !slices.Equal(got, want) {
			t.Errorf("after %d: %v, want %v", n, got, want)
		}
		l.Keep(n, most)
	}
}

func TestLatestIsSafeForConcurrentUse(t *testing.T) {
	var l window.Latest[int]
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 200 {
				l.Keep(i, 5)
				if n := len(l.All()); n < 1 || n > 5 {
					t.Errorf("%d are kept", n)
				}
			}
		})
	}
	all.Wait()
}
