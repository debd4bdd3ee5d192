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
	get := call.Call{Protocol: call.HTTP, Idempotent: true, Replayable: true, Attempts: 1}
	post := call.Call{Protocol: call.HTTP, Replayable: true, Attempts: 1}
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
		{"unavailable", get, call.Outcome{Reason: call.Unavailable, Sent: call.Answered, Status: 503}, forever, true, true, nil},
		{"faulty", get, call.Outcome{Reason: call.Faulty, Sent: call.Answered, Status: 500}, forever, true, false, nil},
		{"unsafe, answered", post, call.Outcome{Reason: call.Unavailable, Sent: call.Answered, Status: 503}, forever, true, false, retry.ErrUnsafe},
		{"unsafe, unknown", post, call.Outcome{Reason: call.Reset, Sent: call.SentUnknown}, forever, true, false, retry.ErrUnsafe},
		{"unsafe, not sent", post, call.Outcome{Reason: call.Unreachable}, forever, true, true, nil},
		{"body gone", with(get, func(c *call.Call) { c.Replayable = false }), call.Outcome{Reason: call.Unreachable}, forever, true, false, retry.ErrUnsafe},
		{"canceled", get, call.Outcome{Reason: call.Canceled}, forever, true, false, nil},
		{"throttled without a time", get, call.Outcome{Reason: call.Throttled, Sent: call.Answered, Status: 429}, forever, true, false, nil},
		{"throttled for a moment", get, call.Outcome{Reason: call.Throttled, Sent: call.Answered, Status: 429, RetryAfter: time.Millisecond}, forever, true, true, nil},
		{"throttled for long", get, call.Outcome{Reason: call.Throttled, Sent: call.Answered, Status: 429, RetryAfter: time.Minute}, forever, true, false, retry.ErrPushback},
		{"asked not to", get, call.Outcome{Reason: call.Unavailable, Sent: call.Answered, Status: 503, NoRetry: true}, forever, true, false, retry.ErrPushback},
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

// What is tried again, in Envoy's words.
func TestConditions(t *testing.T) {
	http := func(status int) call.Outcome {
		return call.Outcome{Reason: call.ClassifyHTTP(status), Sent: call.Answered, Status: status}
	}
	grpc := func(code int) call.Outcome {
		return call.Outcome{Reason: call.ClassifyGRPC(uint32(code)), Sent: call.Answered, Status: code}
	}
	unreachable, refused := call.Outcome{Reason: call.Unreachable}, call.Outcome{Reason: call.Refused}
	reset, slow := call.Outcome{Reason: call.Reset, Sent: call.SentUnknown}, call.Outcome{Reason: call.TryTimeout, Sent: call.SentUnknown}
	limited := http(429)
	limited.Ratelimited = true
	mine := []call.Outcome{{Reason: call.Rejected}, {Reason: call.Canceled, Sent: call.SentUnknown}, {Reason: call.Expired, Sent: call.SentUnknown}}
	tests := map[retry.Condition]struct {
		protocol call.Protocol
		yes, no  []call.Outcome
	}{
		retry.On5xx:               {call.HTTP, []call.Outcome{http(500), http(503), http(599), unreachable, refused, reset, slow}, []call.Outcome{http(200), http(404), http(429)}},
		retry.OnGatewayError:      {call.HTTP, []call.Outcome{http(502), http(503), http(504)}, []call.Outcome{http(500), http(505), reset}},
		retry.OnReset:             {call.HTTP, []call.Outcome{reset, slow, unreachable, refused}, []call.Outcome{http(503)}},
		retry.OnConnectFailure:    {call.HTTP, []call.Outcome{unreachable}, []call.Outcome{reset, refused, http(503)}},
		retry.OnRefusedStream:     {call.HTTP, []call.Outcome{refused}, []call.Outcome{reset, unreachable}},
		retry.OnRetriable4xx:      {call.HTTP, []call.Outcome{http(409)}, []call.Outcome{http(400), http(408), http(429)}},
		retry.OnRatelimited:       {call.HTTP, []call.Outcome{limited}, []call.Outcome{http(429)}},
		retry.OnCancelled:         {call.GRPC, []call.Outcome{grpc(1)}, []call.Outcome{grpc(2), grpc(0)}},
		retry.OnDeadlineExceeded:  {call.GRPC, []call.Outcome{grpc(4)}, []call.Outcome{grpc(14)}},
		retry.OnResourceExhausted: {call.GRPC, []call.Outcome{grpc(8)}, []call.Outcome{grpc(14)}},
		retry.OnInternal:          {call.GRPC, []call.Outcome{grpc(13)}, []call.Outcome{grpc(2)}},
		retry.OnUnavailable:       {call.GRPC, []call.Outcome{grpc(14)}, []call.Outcome{grpc(8), unreachable}},
	}
	for _, c := range retry.Conditions() {
		test, ok := tests[c]
		if !ok {
			t.Errorf("%s is not tested", c)
		}
		p := policy(retry.Options{On: []retry.Condition{c}})
		one := call.Call{Protocol: test.protocol, Idempotent: true, Replayable: true, Attempts: 1}
		for _, out := range test.yes {
			if !p.Wants(&one, out) {
				t.Errorf("%s does not want %+v", c, out)
			}
		}
		for _, out := range append(test.no, mine...) {
			if p.Wants(&one, out) {
				t.Errorf("%s wants %+v", c, out)
			}
		}
	}
	one := call.Call{Protocol: call.HTTP, Idempotent: true, Replayable: true, Attempts: 1}
	statuses := policy(retry.Options{On: []retry.Condition{}, Statuses: []int{418}})
	if !statuses.Wants(&one, http(418)) || statuses.Wants(&one, http(503)) || statuses.Wants(&one, reset) {
		t.Error("statuses alone are wanted wrongly")
	}
	throttled := http(429)
	throttled.RetryAfter = time.Second
	if !policy(retry.Options{}).Wants(&one, throttled) || policy(retry.Options{On: []retry.Condition{}}).Wants(&one, throttled) {
		t.Error("an instance that says when to come back is not taken at its word")
	}
	if err := (retry.Options{On: []retry.Condition{"6xx"}}).Validate(); err == nil {
		t.Error("a condition that nobody knows is accepted")
	}
}
