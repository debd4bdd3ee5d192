package upstream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/upstream"
)

// Calls are counted by how they ended; what was never sent has no latency, and
// who was given up by its caller has not failed.
func TestSignals(t *testing.T) {
	var s upstream.Signals
	for _, r := range call.Reasons() {
		s.Record(r, 10*time.Millisecond)
	}
	got := s.Totals()
	if want := uint64(len(call.Reasons())); got.Calls != want || got.Failed != want-2 || got.Took.Total() != want-1 {
		t.Errorf("%d calls, %d failed, %d sent; want %d, %d, %d", got.Calls, got.Failed, got.Took.Total(), want, want-2, want-1)
	}
}

// Of a storm the beginning is kept, of many troubles the latest.
func TestRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u upstream.Upstream
		for i := range 1000 {
			u.Note(upstream.Trouble{Attempt: i})
		}
		all, more := u.Recent()
		if len(all) != 4 || all[0].Attempt != 0 || more != 996 {
			t.Errorf("of a storm %d are kept, the first being %d, and %d are not", len(all), all[0].Attempt, more)
		}
		for i := range 100 {
			time.Sleep(time.Second)
			u.Note(upstream.Trouble{Attempt: 1000 + i})
		}
		all, _ = u.Recent()
		if len(all) != 64 || all[0].Attempt != 1036 || all[63].Attempt != 1099 {
			t.Errorf("of a hundred %d are kept, from %d to %d; want the last 64", len(all), all[0].Attempt, all[len(all)-1].Attempt)
		}
		if at := all[63].At; !at.Equal(time.Now()) {
			t.Errorf("the last was at %v, want now, %v", at, time.Now())
		}
	})
}
