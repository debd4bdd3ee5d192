package admin

import (
	"maps"
	"sync"
	"time"
)

// shares tells which part of a target's attempts each instance has had lately, for
// the upstreams that somebody looks at.
type shares struct {
	mu sync.Mutex
	of map[string]*tally
}

// tally is how many attempts went to each instance of an upstream until two moments.
type tally struct {
	at            time.Time // of the later one
	asked         time.Time
	earlier, late map[string]uint64
}

// lately is what a share is over, at least; forgotten is when nobody looks any more.
const (
	lately    = 10 * time.Second
	forgotten = time.Minute
)

// share fills in the instances' shares.
func (s *shares) share(service string, now time.Time, targets []Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.of, func(_ string, t *tally) bool { return now.Sub(t.asked) > forgotten })
	t := s.of[service]
	if t == nil {
		t = new(tally)
		s.of[service] = t
	}
	t.asked = now
	counts := make(map[string]uint64)
	for i := range targets {
		base := t.earlier
		if base == nil {
			base = t.late
		}
		targets[i].share(base, counts)
	}
	if now.Sub(t.at) >= lately {
		t.earlier, t.late, t.at = t.late, counts, now
	}
}

// share fills in the shares of a target since earlier counts, or of all that is
// known when there was nothing since.
func (t *Target) share(base, counts map[string]uint64) {
	since := func(i *Instance) uint64 {
		before := base[t.Name+"\x00"+i.ID]
		if before > i.Attempts { // it is another one of this name
			return i.Attempts
		}
		return i.Attempts - before
	}
	var total, ever uint64
	for k := range t.Instances {
		i := &t.Instances[k]
		counts[t.Name+"\x00"+i.ID] = i.Attempts
		total, ever = total+since(i), ever+i.Attempts
	}
	for k := range t.Instances {
		i := &t.Instances[k]
		switch {
		case total > 0:
			i.Share = float64(since(i)) / float64(total)
		case ever > 0:
			i.Share = float64(i.Attempts) / float64(ever)
		}
	}
}
