package limit_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/limit"
)

// The less a call matters, the sooner there is no place for it.
func TestBulkheadKeepsPlacesForWhatMatters(t *testing.T) {
	b := limit.NewBulkhead("test", limit.BulkheadOptions{Limit: 10})
	for taken := range 11 {
		for p, most := range map[limit.Priority]int{limit.Background: 5, limit.Degraded: 8, limit.Default: 10, limit.Critical: 10} {
			l, err := b.EnterAs(t.Context(), p)
			if (err == nil) != (taken < most) || err != nil && !errors.Is(err, limit.ErrFull) {
				t.Errorf("%v with %d taken: %v", p, taken, err)
			}
			l.Done(call.OK)
		}
		if taken < 10 {
			if _, err := b.Enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Critical calls that wait go before others that came sooner, and have room where
// those have none.
func TestBulkheadLetsCriticalCallsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limit.NewBulkhead("test", limit.BulkheadOptions{Limit: 1, Queue: 2})
		held, err := b.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var order []limit.Priority
		enter := func(p limit.Priority) {
			go func() {
				l, err := b.EnterAs(t.Context(), p)
				if err != nil {
					t.Errorf("%v: %v", p, err)
					return
				}
				order = append(order, p) // one at a time is let in
				l.Done(call.OK)
			}()
			synctest.Wait()
		}
		enter(limit.Default)
		enter(limit.Default)
		if _, err := b.Enter(t.Context()); !errors.Is(err, limit.ErrFull) {
			t.Errorf("the line is full: %v", err)
		}
		enter(limit.Critical)
		enter(limit.Critical)
		if _, err := b.EnterAs(t.Context(), limit.Critical); !errors.Is(err, limit.ErrFull) || b.Waiting() != 4 {
			t.Errorf("both lines are full: %v, %d wait", err, b.Waiting())
		}
		held.Done(call.OK)
		synctest.Wait()
		if len(order) != 4 || order[0] != limit.Critical || order[1] != limit.Critical || b.Inflight() != 0 || b.Waiting() != 0 {
			t.Errorf("let in as %v, %d under way, %d wait", order, b.Inflight(), b.Waiting())
		}
	})
}
