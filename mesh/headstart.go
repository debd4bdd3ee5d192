package mesh

import (
	"sync"
	"time"
)

// headStart is how long what is alive may take to speak before what was kept of
// it is used. Together with that it stays below 100 ms.
const headStart = 50 * time.Millisecond

// race lets what is alive speak first, and what was kept if that is silent.
type race struct {
	mu    sync.Mutex
	over  bool // somebody alive has spoken, or nobody will
	kept  func()
	timer *time.Timer
}

// startRace has kept called, at most once, unless alive is called in time.
func startRace(kept func()) *race {
	r := &race{kept: kept}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer = time.AfterFunc(headStart, r.give)
	return r
}

// give uses what was kept, now.
func (r *race) give() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over && r.kept != nil {
		r.kept()
		r.kept = nil
	}
}

// alive passes on what somebody alive has said; what was kept is of no use from
// then on.
func (r *race) alive(tell func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	r.timer.Stop()
	tell()
}

// end makes sure that nothing is told any more.
func (r *race) end() { r.alive(func() {}) }
