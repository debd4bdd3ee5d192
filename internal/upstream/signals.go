package upstream

import (
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/window"
)

// Signals count the calls to a service since this process came to know it: how
// many, how they ended, how long they took. Recording is an atomic addition, two
// for a call that failed. They are safe for concurrent use.
type Signals struct {
	took    window.Histogram
	reasons [most]atomic.Uint64 // those but OK
}

// most is at least as many reasons as there are.
const most = 16

// Record counts a call that was answered or given up. How long it took to refuse
// a call says nothing about the service.
func (s *Signals) Record(r call.Reason, took time.Duration) {
	if r != call.Rejected {
		s.took.Record(took)
	}
	if r != call.OK && r < most {
		s.reasons[r].Add(1)
	}
}

// Totals are what [Signals] have counted.
type Totals struct {
	// Calls is how many there were.
	Calls uint64
	// Failed got no answer of use: those that count against their callee, and
	// those that ran out of time or were refused on this side. Who was given up by
	// its caller has not failed.
	Failed uint64
	// Took says how long those took that were sent.
	Took window.Counts
}

// Totals returns what was counted so far.
func (s *Signals) Totals() Totals {
	t := Totals{Took: s.took.Counts()}
	t.Calls = t.Took.Total() + s.reasons[call.Rejected].Load()
	for r := range s.reasons {
		if call.Reason(r) != call.Canceled {
			t.Failed += s.reasons[r].Load()
		}
	}
	return t
}
