package breaker

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// probes are the attempts that were let in while the breaker was half-open and
// have not ended. One that takes longer than a lease makes room for another: it
// may never end, as a stream that nobody sends anything on. How it ends counts all
// the same, if the breaker is still half-open then.
type probes struct {
	mu  sync.Mutex
	all []*probe
}

type probe struct {
	since  time.Time
	leave  Leave
	lapsed bool
}

// add notes a probe that begins, and returns how it is to be ended.
func (p *probes) add(leave Leave) Leave {
	one := &probe{since: time.Now(), leave: leave}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, one)
	return func(err error) {
		p.mu.Lock()
		p.all = slices.DeleteFunc(p.all, func(other *probe) bool { return other == one })
		lapsed := one.lapsed
		p.mu.Unlock()
		if !lapsed || !errors.Is(err, errNeutral) { // a lapse was told as just that
			leave(err)
		}
	}
}

// lapse takes its place from the probe that has been under way the longest, if that
// is longer than the lease.
func (p *probes) lapse(lease time.Duration) bool {
	p.mu.Lock()
	if len(p.all) == 0 || time.Since(p.all[0].since) < lease {
		p.mu.Unlock()
		return false
	}
	first := p.all[0]
	p.all = slices.Delete(p.all, 0, 1)
	first.lapsed = true
	p.mu.Unlock()
	first.leave(errNeutral)
	return true
}
