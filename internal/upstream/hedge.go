package upstream

import (
	"time"

	"github.com/innermesh/innermesh/internal/window"
	"github.com/innermesh/innermesh/policy"
)

// Hedge says when a call is sent to a second instance before the first has
// answered. It is safe for concurrent use.
type Hedge struct {
	// Attempts is how many may be under way at once.
	Attempts int

	after  time.Duration
	recent *window.Rolling // nil if the wait is fixed
}

// What a live percentile is made of, and the least that it says.
const (
	recentSpan  = 30 * time.Second
	recentLeast = 100
	leastHedge  = time.Millisecond
)

// newHedge returns nil if nothing is hedged.
func newHedge(p policy.Hedge) *Hedge {
	if p.Off() {
		return nil
	}
	h := &Hedge{Attempts: p.Attempts, after: time.Duration(p.After)}
	if p.Percentile > 0 {
		h.recent = window.NewRolling(recentSpan, p.Percentile/100, recentLeast)
	}
	return h
}

// After is how long an answer is waited for before the next attempt, negative
// if there is to be none.
func (h *Hedge) After(now time.Duration) time.Duration {
	if h.recent != nil {
		if usual := h.recent.Quantile(now); usual > 0 {
			return max(usual, leastHedge)
		}
	}
	if h.after <= 0 {
		return -1
	}
	return h.after
}

// Took tells how long an answer took that was not given up.
func (h *Hedge) Took(now, d time.Duration) {
	if h.recent != nil {
		h.recent.Record(now, d)
	}
}
