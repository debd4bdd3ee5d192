package deadline

import (
	"sync"
	"time"

	"github.com/innermesh/innermesh/internal/mono"
)

// Clock keeps the time of many contexts with a few timers, for attempts that
// all have about as long: they run out in the order in which they began, so
// that a list will do, and nearly all are over long before. A timer of its own
// for each would be made, sorted in and thrown away by the runtime every time.
//
// The zero Clock is ready. It has no goroutine, and no timer once nothing has
// been waited for as long as the last context had.
type Clock struct {
	hands [8]hand // that concurrent calls seldom meet at one lock
}

// hand keeps the time of some of the contexts.
type hand struct {
	mu          sync.Mutex
	first, last *Context // by the end of their time
	timer       *time.Timer
	wakes       time.Duration // when the timer goes off, 0 is never
	_           [24]byte      // a line of the cache each
}

// nearby is how far back in the list the place of a context is looked for. Who
// belongs farther back has less time than is usual, and a timer of its own.
const nearby = 8

// of returns the hand for a context.
func (k *Clock) of(c *Context) *hand {
	const golden = 0x9E3779B97F4A7C15 // spreads what differs in low bits only
	return &k.hands[uint64(c.until)*golden>>61]
}

// add has c end in time, or says that it has no place for it.
func (h *hand) add(c *Context) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.last
	for range nearby {
		if before == nil || before.until <= c.until {
			h.link(before, c)
			h.wake(h.first.until)
			return true
		}
		before = before.before
	}
	return false
}

// remove forgets c, if it is there.
func (h *hand) remove(c *Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.listed {
		h.unlink(c)
	}
}

// wake has the timer go off at a time, or earlier: it is not put off when the
// first context ends before its time.
func (h *hand) wake(at time.Duration) {
	switch left := at - mono.Now(); {
	case h.wakes != 0 && h.wakes <= at:
		return
	case h.timer == nil:
		h.timer = time.AfterFunc(left, h.goOff)
	default:
		h.timer.Reset(left)
	}
	h.wakes = at
}

// goOff ends the contexts whose time has run out.
func (h *hand) goOff() {
	var over []*Context
	h.mu.Lock()
	h.wakes = 0
	for now := mono.Now(); h.first != nil && h.first.until <= now; {
		over = append(over, h.first)
		h.unlink(h.first)
	}
	if h.first != nil {
		h.wake(h.first.until)
	}
	h.mu.Unlock()
	for _, c := range over { // under no lock: others wait on them
		c.runOut()
	}
}

// link puts c behind before, or in front of all.
func (h *hand) link(before, c *Context) {
	c.listed, c.before = true, before
	if before == nil {
		c.after, h.first = h.first, c
	} else {
		c.after, before.after = before.after, c
	}
	if c.after == nil {
		h.last = c
	} else {
		c.after.before = c
	}
}

func (h *hand) unlink(c *Context) {
	if c.before == nil {
		h.first = c.after
	} else {
		c.before.after = c.after
	}
	if c.after == nil {
		h.last = c.before
	} else {
		c.after.before = c.before
	}
	c.listed, c.before, c.after = false, nil, nil
}
