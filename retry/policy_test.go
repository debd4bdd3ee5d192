package retry_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/retry"
)

func policy(o retry.Options) *retry.Policy { return retry.New(o, retry.NewBudget(o.Budget)) }

func TestNext(t *testing.T) {
	get := call.Call{Idempotent: true, Replayable: true, Attempts: 1}
	post := call.Call{Replayable: true, Attempts: 1}
	with := func(c call.Call, change func(*call.Call)) call.Call { change(&c); return c }
	const forever = time.Duration(-1)
	tests := []struct {
		name  string
		call  call.Call
		out   call.Outcome
		left  time.Duration
		fresh bool
		again bool
		why   error
	}{
		{"answered well", get, call.Outcome{Reason: call.OK, Sent: call.Answered}, forever, true, false, nil},
		{"unavailable", get, call.Outcome{Reason: call.Unavailable, Sent: call.Answered}, forever, true, true, nil},
		{"faulty", get, call.Outcome{Reason: call.Faulty, Sent: call.Answered}, forever, true, false, nil},
		{"unsafe, answered", post, call.Outcome{Reason: call.Unavailable, Sent: call.Answered}, forever, true, false, retry.ErrUnsafe},
		{"unsafe, unknown", post, call.Outcome{Reason: call.Reset, Sent: call.SentUnknown}, forever, true, false, retry.ErrUnsafe},
		{"unsafe, not sent", post, call.Outcome{Reason: call.Unreachable}, forever, true, true, nil},
		{"body gone", with(get, func(c *call.Call) { c.Replayable = false }), call.Outcome{Reason: call.Unreachable}, forever, true, false, retry.ErrUnsafe},
		{"canceled", get, call.Outcome{Reason: call.Canceled}, forever, true, false, nil},
		{"throttled without a time", get, call.Outcome{Reason: call.Throttled, Sent: call.Answered}, forever, true, false, nil},
		{"throttled for a moment", get, call.Outcome{Reason: call.Throttled, Sent: call.Answered, RetryAfter: time.Millisecond}, forever, true, true, nil},
		{"throttled for long", get, call.Outcome{Reason: call.Throttled, Sent: call.Answered, RetryAfter: time.Minute}, forever, true, false, retry.ErrPushback},
		{"asked not to", get, call.Outcome{Reason: call.Unavailable, Sent: call.Answered, NoRetry: true}, forever, true, false, retry.ErrPushback},
		{"attempts used", with(get, func(c *call.Call) { c.Attempts = 3 }), call.Outcome{Reason: call.Unreachable}, forever, true, false, retry.ErrAttempts},
		{"one attempt wanted", with(get, func(c *call.Call) { c.Options.Attempts = 1 }), call.Outcome{Reason: call.Reset}, forever, true, false, nil},
		{"more attempts wanted", with(get, func(c *call.Call) { c.Attempts, c.Options.Attempts = 3, 5 }), call.Outcome{Reason: call.Reset}, forever, true, true, nil},
		{"waits for ready", with(post, func(c *call.Call) { c.Attempts, c.WaitForReady = 99, true }), call.Outcome{Reason: call.Unreachable}, forever, true, true, nil},
		{"wait for ready is no licence", with(get, func(c *call.Call) { c.Attempts, c.WaitForReady = 99, true }), call.Outcome{Reason: call.Reset, Sent: call.SentUnknown}, forever, true, false, retry.ErrAttempts},
		{"no time", get, call.Outcome{Reason: call.Reset, Sent: call.SentUnknown, RetryAfter: time.Second}, 900 * time.Millisecond, true, false, retry.ErrNoTime},
		{"no time at all", get, call.Outcome{Reason: call.Unreachable}, 0, true, false, retry.ErrNoTime},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, again, why := policy(retry.Options{}).Next(&tt.call, tt.out, tt.left, 0, tt.fresh)
			if again != tt.again || !errors.Is(why, tt.why) || (why != nil && tt.why == nil) {
				t.Errorf("got again %v, why %v; want %v, %v", again, why, tt.again, tt.why)
			}
		})
	}
}

func TestUnsentGoesToAnotherInstanceAtOnce(t *testing.T) {
	p := policy(retry.Options{})
	c := call.Call{Replayable: true, Attempts: 1}
	if wait, again, _ := p.Next(&c, call.Outcome{Reason: call.Unreachable}, -1, 0, true); wait != 0 || !again {
		t.Errorf("wait %v, again %v", wait, again)
	}
	waited := false
	for range 100 {
		wait, _, _ := p.Next(&c, call.Outcome{Reason: call.Unreachable}, -1, 0, false)
		waited = waited || wait > 0
	}
	if !waited {
		t.Error("never waits although the only instance is unreachable")
	}
}

func TestUnsentCostsNothing(t *testing.T) {
	budget := retry.NewBudget(retry.BudgetOptions{Floor: 0.1}) // one retry in ten seconds
	p := retry.New(retry.Options{}, budget)
	c := call.Call{Idempotent: true, Replayable: true, Attempts: 1}
	for range 100 {
		if _, again, why := p.Next(&c, call.Outcome{Reason: call.Unreachable}, -1, 0, true); !again {
			t.Fatal(why)
		}
	}
	reset := call.Outcome{Reason: call.Reset, Sent: call.SentUnknown}
	if _, again, why := p.Next(&c, reset, -1, 0, true); !again {
		t.Fatal(why)
	}
	if _, again, why := p.Next(&c, reset, -1, 0, true); again || !errors.Is(why, retry.ErrBudget) {
		t.Errorf("again %v, why %v", again, why)
	}
}

// The wait is spread over all of zero to its ceiling, which doubles up to Max.
func TestWaitHasFullJitter(t *testing.T) {
	const base, most = 20 * time.Millisecond, 100 * time.Millisecond
	p := policy(retry.Options{Attempts: 100, Base: base, Max: most, Budget: retry.BudgetOptions{Ratio: -1}})
	for attempts, ceiling := range map[int]time.Duration{1: base, 2: 2 * base, 3: 4 * base, 4: most, 9: most} {
		c := call.Call{Idempotent: true, Replayable: true, Attempts: attempts}
		var sum, longest time.Duration
		const draws = 4000
		for range draws {
			wait, _, _ := p.Next(&c, call.Outcome{Reason: call.Reset, Sent: call.SentUnknown}, -1, 0, true)
			sum, longest = sum+wait, max(longest, wait)
		}
		if longest > ceiling+1 || longest < ceiling*9/10 {
			t.Errorf("after %d attempts: longest wait %v, want about %v", attempts, longest, ceiling)
		}
		if mean := sum / draws; mean < ceiling*4/10 || mean > ceiling*6/10 {
			t.Errorf("after %d attempts: mean wait %v, want about %v", attempts, mean, ceiling/2)
		}
	}
}

// A call that is not safe to repeat is repeated only if it was not sent.
func TestUnsafeCallsAreNeverRepeated(t *testing.T) {
	p := policy(retry.Options{})
	rapid.Check(t, func(t *rapid.T) {
		c := call.Call{
			Idempotent: rapid.Bool().Draw(t, "idempotent"), Replayable: rapid.Bool().Draw(t, "replayable"),
			WaitForReady: rapid.Bool().Draw(t, "wait"), Attempts: rapid.IntRange(1, 5).Draw(t, "attempts"),
		}
		out := call.Outcome{
			Reason:     rapid.SampledFrom(call.Reasons()).Draw(t, "reason"),
			Sent:       call.Sent(rapid.IntRange(0, 2).Draw(t, "sent")),
			RetryAfter: time.Duration(rapid.IntRange(0, 2).Draw(t, "after")) * time.Second,
			NoRetry:    rapid.Bool().Draw(t, "no retry"),
		}
		_, again, _ := p.Next(&c, out, -1, 0, rapid.Bool().Draw(t, "fresh"))
		if again && !c.Idempotent && out.Sent != call.NotSent {
			t.Fatalf("%+v repeated after %+v", c, out)
		}
		if again && !c.Replayable {
			t.Fatal("repeated what can not be sent again")
		}
		if again && out.NoRetry {
			t.Fatal("repeated against the instance's word")
		}
	})
}

func TestValidateNamesEveryFault(t *testing.T) {
	err := retry.Options{Attempts: -1, Base: -1, Max: -1, Budget: retry.BudgetOptions{Ratio: 2}}.Validate()
	for _, field := range []string{"Attempts", "Base", "Max", "Budget.Ratio"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}
