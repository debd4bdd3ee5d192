package outbound_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/internal/outbound"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

var (
	broken = call.Outcome{Reason: call.Reset, Sent: call.SentUnknown, Err: errors.New("reset by peer")}
	minted = policy.Service{Retry: policy.Retry{Key: policy.KeyMinted}}
)

func TestKeysMakeCallsRepeatable(t *testing.T) {
	tests := map[string]struct {
		policy  policy.Service
		options call.Options
		method  string
		key     string // "?" is any
		tries   int
	}{
		"none":                   {method: "POST", tries: 1},
		"given":                  {options: call.Options{Key: "order 42"}, method: "POST", key: "order 42", tries: 3},
		"given over minted":      {policy: minted, options: call.Options{Key: "order 42", Keyed: true}, method: "POST", key: "order 42", tries: 3},
		"minted by option":       {options: call.Options{Keyed: true}, method: "POST", key: "?", tries: 3},
		"minted for a GET":       {options: call.Options{Keyed: true}, method: "GET", key: "?", tries: 3},
		"minted by policy":       {policy: minted, method: "POST", key: "?", tries: 3},
		"policy leaves the GETs": {policy: minted, method: "GET", tries: 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			within(t, test.policy, func(t *testing.T, d *upstream.Directory) {
				var x *exchange
				var keys []string
				x = newExchange(func(*outbound.Attempt) call.Outcome {
					keys = append(keys, x.Key)
					return broken
				})
				x.Method, x.Idempotent, x.Options = test.method, test.method == "GET", test.options
				_, err := outbound.Do(t.Context(), d, &x.Flight, x)
				if e, ok := errors.AsType[*call.Error](err); !ok || e.Attempts != test.tries {
					t.Errorf("got %v, want %d attempts", err, test.tries)
				}
				if got := slices.Compact(keys); len(got) != 1 || got[0] != test.key && (test.key != "?" || idempotency.CheckKey(got[0]) != nil) {
					t.Errorf("keys %q, want %q", keys, test.key)
				}
			}, "a", "b", "c")
		})
	}
}

func TestKeysAreDifferent(t *testing.T) {
	within(t, minted, func(t *testing.T, d *upstream.Directory) {
		seen := map[string]bool{}
		for range 100 {
			x := newExchange(always(call.Outcome{Sent: call.Answered}))
			x.Method, x.Idempotent = "POST", false
			if _, err := outbound.Do(t.Context(), d, &x.Flight, x); err != nil {
				t.Fatal(err)
			}
			x.End(call.Outcome{})
			seen[x.Key] = true
		}
		if len(seen) != 100 || seen[""] {
			t.Errorf("%d different keys of 100 calls", len(seen))
		}
	}, "a")
}

func TestKeyThatIsNone(t *testing.T) {
	for _, key := range []string{strings.Repeat("k", 256), "a\nb", "schlüssel"} {
		within(t, policy.Service{}, func(t *testing.T, d *upstream.Directory) {
			x := newExchange(always(call.Outcome{Sent: call.Answered}))
			x.Options.Key = key
			_, err := outbound.Do(t.Context(), d, &x.Flight, x)
			if e, ok := errors.AsType[*call.Error](err); !ok || e.Reason != call.Rejected || !errors.Is(err, idempotency.ErrKey) {
				t.Errorf("got %v, want a refusal with ErrKey", err)
			}
			if len(x.asked) != 0 {
				t.Errorf("asked %v", x.asked)
			}
		}, "a")
	}
}

// The error tells of every attempt; of many, the first and the latest.
func TestTriesAreTold(t *testing.T) {
	within(t, policy.Service{Retry: policy.Retry{Attempts: 8, Budget: policy.Budget{Ratio: -1}}}, func(t *testing.T, d *upstream.Directory) {
		began := time.Now()
		x := newExchange(func(a *outbound.Attempt) call.Outcome {
			<-time.After(time.Duration(a.Number) * time.Second)
			return call.Outcome{Reason: call.Reset, Sent: call.SentUnknown, Err: fmt.Errorf("the %d.", a.Number)}
		})
		x.Options.Timeout = -1
		_, err := outbound.Do(t.Context(), d, &x.Flight, x)
		e, ok := errors.AsType[*call.Error](err)
		if !ok || e.Attempts != 8 || len(e.Tries) != call.MaxTries {
			t.Fatalf("got %v with %v", err, e)
		}
		for i, number := range []int{1, 5, 6, 7, 8} {
			try := e.Tries[i]
			if try.Took != time.Duration(number)*time.Second || try.Reason != call.Reset || try.Sent != call.SentUnknown || try.Instance == "" {
				t.Errorf("try %d is %+v, want that of attempt %d", i, try, number)
			}
		}
		if first := e.Tries[0].Began; !first.Equal(began) {
			t.Errorf("the first began at %v, want %v", first, began)
		}
		if last := e.Tries[4]; !last.Began.Add(last.Took).Equal(time.Now()) {
			t.Errorf("the last ended at %v, want %v", last.Began.Add(last.Took), time.Now())
		}
	}, "a", "b", "c")
}

func TestNobodyTriedIsNoTry(t *testing.T) {
	within(t, policy.Service{}, func(t *testing.T, d *upstream.Directory) {
		x := newExchange(always(broken))
		_, err := outbound.Do(t.Context(), d, &x.Flight, x)
		if e, ok := errors.AsType[*call.Error](err); !ok || len(e.Tries) != 0 {
			t.Errorf("got %v", err)
		}
	})
}
