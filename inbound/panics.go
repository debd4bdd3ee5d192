package inbound

import (
	"sync"
	"time"
)

// A handler that panics does so with each call of a kind: so many are told of with
// their stack in so much time, the others are counted.
const (
	panicsTold = 10
	panicsIn   = time.Minute
)

// panics says which panics are told of. It is safe for concurrent use.
type panics struct {
	mu     sync.Mutex
	since  time.Duration // the beginning of the minute, on the clock of mono.Now
	told   int           // in that minute
	untold int           // since one was told
}

// tell says whether one is told, and how many before it were not.
func (p *panics) tell(now time.Duration) (untold int, tell bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told > 0 && now-p.since >= panicsIn {
		p.told = 0
	}
	if p.told >= panicsTold {
		p.untold++
		return 0, false
	}
	if p.told == 0 {
		p.since = now
	}
	p.told++
	untold, p.untold = p.untold, 0
	return untold, true
}
