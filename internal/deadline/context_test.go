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

// Who waits on a follower is given to a parent that ends first, and costs nothing.
func TestFollower(t *testing.T) {
	tests := map[string]struct {
		parent, own time.Duration
		given       bool
	}{
		"parent ends first":      {time.Second, time.Minute, true},
		"both at once":           {time.Second, time.Second, true},
		"no time of its own":     {time.Second, 0, true},
		"ends before its parent": {time.Minute, time.Second, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithTimeout(t.Context(), test.parent)
				defer cancel()
				c := deadline.Context{Follower: true}
				until := time.Duration(0)
				if test.own != 0 {
					until = mono.Now() + test.own
				}
				c.Start(parent, until)
				if given := c.Done() == parent.Done(); given != test.given {
					t.Errorf("given to the parent: %v, want %v", given, test.given)
				}
				begin := time.Now()
				<-c.Done()
				if took := time.Since(begin); took != time.Second {
					t.Errorf("ended after %v, want 1s", took)
				}
				if c.TimedOut() == test.given || c.Err() != context.DeadlineExceeded {
					t.Errorf("TimedOut %v, Err %v", c.TimedOut(), c.Err())
				}
			})
		})
	}
}

func TestFollowerIsNotCanceled(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	c := deadline.Context{Follower: true}
	c.Start(parent, 0)
	done := c.Done()
	c.Cancel()
	if c.Err() != nil {
		t.Errorf("Err = %v though Done is open", c.Err())
	}
	cancel()
	<-done
	if c.Err() != context.Canceled {
		t.Errorf("Err = %v", c.Err())
	}
}

// Without a timer of its own a context that is no follower can be canceled.
func TestCancelBeforeTheParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := start(parent, time.Minute)
		done := c.Done()
		c.Cancel()
		<-done
		if c.Err() != context.Canceled || parent.Err() != nil {
			t.Errorf("Err %v, the parent's %v", c.Err(), parent.Err())
		}
	})
}

// A deadline that nobody keeps is no reason to have no timer.
func TestParentWithADeadlineButNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(idle{context.Background()}, time.Second)
		<-c.Done()
		if !c.TimedOut() {
			t.Error("the own clock did not end it")
		}
	})
}

// idle has a deadline and does nothing about it.
type idle struct{ context.Context }

func (idle) Deadline() (time.Time, bool) { return time.Now().Add(time.Millisecond), true }

func TestDeadlineIsWholeMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t.Context(), 7500*time.Millisecond)
		time.Sleep(17 * time.Microsecond)
		first, ok := c.Deadline()
		if left := time.Until(first); !ok || left != 7500*time.Millisecond {
			t.Errorf("%v left, want 7.5s: a little late, and never early", left)
		}
		time.Sleep(time.Second)
		if again, _ := c.Deadline(); again != first {
			t.Errorf("the deadline has moved from %v to %v", first, again)
		}
		begin := time.Now()
		<-c.Done()
		if took := time.Since(begin); took != 6500*time.Millisecond-17*time.Microsecond {
			t.Errorf("ended after %v", took)
		}
	})
}

func TestSilent(t *testing.T) {
	c := deadline.Context{Silent: true}
	c.Start(t.Context(), mono.Now()+time.Hour)
	if at, ok := c.Deadline(); ok {
		t.Errorf("tells %v", at)
	}
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
