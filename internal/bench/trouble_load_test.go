//go:build linux

package bench

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	// deadline is how long each caller waits.
	deadline = time.Second
	// settling is how long all instances are well before one of them is not:
	// connections are made, and who learns has learned.
	settling = time.Second
)

// rival is a way of making calls.
type rival struct {
	name, protocol string
	// open returns what makes one call. It ends with the test.
	open func(t *testing.T, f *fleet) func(context.Context) error
}

// meet has a rival call a fleet in which one instance gets into trouble. Calls
// are begun at a steady rate, however long the answers take.
func meet(t *testing.T, r rival, in trouble) result {
	t.Helper()
	f := newFleet(t, r.protocol, in)
	call := r.open(t, f)
	load(t, call, settling)
	f.begin(t)
	asked, strayed := f.asked()
	res := load(t, call, *troubleSpan)
	a, s := f.asked()
	res.rival, res.trouble, res.asked, res.strayed = r.protocol+" "+r.name, in.name, a-asked, s-strayed
	if res.first != nil {
		t.Logf("%d of %d failed, the first: %v", res.failed, res.calls, res.first)
	}
	return res
}

// load calls for a while and returns when all calls are over.
func load(t *testing.T, call func(context.Context) error, span time.Duration) (res result) {
	t.Helper()
	n := int(span.Seconds() * float64(*troubleRate))
	took, errs := make([]time.Duration, n), make([]error, n)
	var calls sync.WaitGroup
	gap := time.Second / time.Duration(*troubleRate)
	tick := time.NewTicker(min(gap, time.Millisecond))
	defer tick.Stop()
	start := time.Now()
	for i := range n {
		for time.Since(start) < time.Duration(i)*gap {
			<-tick.C
		}
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			begun := time.Now()
			errs[i] = call(ctx)
			took[i] = time.Since(begun)
		})
	}
	calls.Wait()
	for _, err := range errs {
		if err != nil {
			res.failed++
			if res.first == nil {
				res.first = err
			}
		}
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[min(int(q*float64(n)), n-1)] }
	res.calls, res.times = n, times{at(0.5), at(0.99), at(0.999)}
	return res
}
