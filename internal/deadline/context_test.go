package deadline_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/internal/deadline"
	"github.com/innermesh/innermesh/internal/mono"
)

func start(parent context.Context, d time.Duration) *deadline.Context {
	var c deadline.Context
	until := time.Duration(0)
	if d != 0 {
		until = mono.Now() + d
	}
	c.Start(parent, until)
	return &c
}

func TestClockEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t.Context(), time.Second)
		child, cancel := context.WithCancel(c)
		defer cancel()
		begin := time.Now()
		<-child.Done()
		if took := time.Since(begin); took != time.Second {
			t.Errorf("ended after %v, want 1s", took)
		}
		if !c.TimedOut() || !errors.Is(c.Err(), context.DeadlineExceeded) {
			t.Errorf("TimedOut %v, Err %v", c.TimedOut(), c.Err())
		}
		if got := context.Cause(child); !errors.Is(got, context.DeadlineExceeded) {
			t.Errorf("cause of the child = %v", got)
		}
	})
}

func TestClockCountsWithoutAWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t.Context(), time.Second)
		if c.Err() != nil || c.TimedOut() {
			t.Fatal("ended at the start")
		}
		time.Sleep(2 * time.Second)
		if !c.TimedOut() || c.Err() != context.DeadlineExceeded {
			t.Errorf("TimedOut %v, Err %v", c.TimedOut(), c.Err())
		}
		select {
		case <-c.Done():
		default:
			t.Error("Done is open though time ran out")
		}
	})
}

func TestStopClock(t *testing.T) {
	for _, armed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := start(t.Context(), time.Second)
			if armed {
				_ = c.Done()
			}
			if !c.StopClock() {
				t.Error("StopClock came too late")
			}
			time.Sleep(time.Minute)
			if c.Err() != nil || c.TimedOut() {
				t.Errorf("armed %v: ended although the clock was stopped: %v", armed, c.Err())
			}
			if _, ok := c.Deadline(); ok {
				t.Error("still has a deadline")
			}
			c.Cancel()
			<-c.Done()
			if c.Err() != context.Canceled || c.TimedOut() {
				t.Errorf("after Cancel: Err %v, TimedOut %v", c.Err(), c.TimedOut())
			}
		})
	}
}

func TestParentEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := start(parent, time.Minute)
		if at, ok := c.Deadline(); !ok || time.Until(at) != time.Second {
			t.Errorf("deadline in %v, want the parent's 1s", time.Until(at))
		}
		<-c.Done()
		if c.TimedOut() || c.Err() != context.DeadlineExceeded {
			t.Errorf("TimedOut %v, Err %v", c.TimedOut(), c.Err())
		}
	})
}

func TestCancelBeforeAnybodyWaits(t *testing.T) {
	c := start(t.Context(), time.Hour)
	c.Cancel()
	<-c.Done()
	if c.Err() != context.Canceled {
		t.Errorf("Err = %v", c.Err())
	}
}

func TestValuesPass(t *testing.T) {
	type key struct{}
	c := start(context.WithValue(t.Context(), key{}, 1), time.Hour)
	defer c.Cancel()
	if c.Value(key{}) != 1 {
		t.Error("value lost before arming")
	}
	_ = c.Done()
	if c.Value(key{}) != 1 {
		t.Error("value lost after arming")
	}
}

func TestCostsNothingUntilAwaited(t *testing.T) {
	ctx := context.Background()
	got := testing.AllocsPerRun(100, func() {
		var c deadline.Context
		c.Start(ctx, mono.Now()+time.Minute)
		if c.Err() != nil {
			t.Error("ended")
		}
		c.StopClock()
		c.Cancel()
	})
	if got > 1 { // the context itself, which an adapter embeds in what it allocates anyway
		t.Errorf("%v allocations, want 1", got)
	}
}
