package outbound_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/outbound"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/retry"
)

var errBroken = errors.New("it broke")

var (
	busy        = call.Outcome{Reason: call.Unavailable, Sent: call.Answered, Status: 503}
	reset       = call.Outcome{Reason: call.Reset, Sent: call.SentUnknown, Err: errBroken}
	unreachable = call.Outcome{Reason: call.Unreachable, Sent: call.NotSent, Err: errBroken}
	faulty      = call.Outcome{Reason: call.Faulty, Sent: call.Answered, Status: 500}
	fine        = call.Outcome{Reason: call.OK, Sent: call.Answered, Status: 200}
)

// How many attempts an outcome is worth, and what the caller gets of them.
func TestVerdicts(t *testing.T) {
	rejected := call.Outcome{Reason: call.Rejected, Sent: call.NotSent, Err: errBroken}
	stop := call.Outcome{Reason: call.Unavailable, Sent: call.Answered, NoRetry: true}
	tests := map[string]struct {
		out      call.Outcome
		change   func(*exchange)
		attempts int
		reason   call.Reason // OK means an answer
		why      error       // why there was no other attempt
	}{
		"fine":                        {fine, nil, 1, call.OK, nil},
		"busy":                        {busy, nil, 3, call.OK, nil},
		"busy, two attempts":          {busy, func(x *exchange) { x.Options.Attempts = 2 }, 2, call.OK, nil},
		"busy, not idempotent":        {busy, func(x *exchange) { x.Idempotent = false }, 1, call.OK, nil},
		"busy, said to be idempotent": {busy, func(x *exchange) { x.Idempotent, x.Options.Idempotent = false, true }, 3, call.OK, nil},
		"busy, not replayable":        {busy, func(x *exchange) { x.Replayable = false }, 1, call.OK, nil},
		"asked to stop":               {stop, nil, 1, call.OK, nil},
		"faulty":                      {faulty, nil, 1, call.OK, nil},
		"reset":                       {reset, nil, 3, call.Reset, retry.ErrAttempts},
		"reset, not idempotent":       {reset, func(x *exchange) { x.Idempotent = false }, 1, call.Reset, retry.ErrUnsafe},
		"unreachable":                 {unreachable, nil, 3, call.Unreachable, retry.ErrAttempts},
		"unreachable, not idempotent": {unreachable, func(x *exchange) { x.Idempotent = false }, 3, call.Unreachable, retry.ErrAttempts},
		"unreachable, not replayable": {unreachable, func(x *exchange) { x.Replayable = false }, 1, call.Unreachable, retry.ErrUnsafe},
		"rejected":                    {rejected, nil, 1, call.Rejected, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			within(t, policy.Service{}, func(t *testing.T, d *upstream.Directory) {
				x := newExchange(always(test.out))
				if test.change != nil {
					test.change(x)
				}
				n, err := do(t.Context(), d, x)
				if len(x.asked) != test.attempts || x.Attempts != test.attempts {
					t.Errorf("%d attempts, %d counted, want %d", len(x.asked), x.Attempts, test.attempts)
				}
				if test.reason == call.OK {
					if err != nil || n != test.attempts || len(x.discarded) != test.attempts-1 {
						t.Errorf("answer %d, %v, %v discarded; want the last, and all others discarded", n, err, x.discarded)
					}
				} else {
					e, ok := errors.AsType[*call.Error](err)
					if !ok || e.Reason != test.reason || e.Sent != test.out.Sent || e.Attempts != test.attempts ||
						e.Instance != x.asked[len(x.asked)-1] || !errors.Is(err, errBroken) {
						t.Errorf("got %v (%+v), want %v on the last of %v", err, e, test.reason, x.asked)
					}
				}
				for _, why := range []error{retry.ErrAttempts, retry.ErrUnsafe, retry.ErrBudget, retry.ErrNoTime} {
					if got := errors.Is(err, why); got != (why == test.why) {
						t.Errorf("is %q: %v", why, got)
					}
				}
				if n := inflight(d); n != 0 {
					t.Errorf("%d attempts are still in flight", n)
				}
			}, "a", "b", "c")
		})
	}
}

func TestNoInstanceTwice(t *testing.T) {
	p := policy.Service{
		Retry:   policy.Retry{Attempts: 4, Budget: policy.Budget{Ratio: -1}},
		Breaker: policy.Breaker{Failures: -1, FailureRatio: -1},
	}
	within(t, p, func(t *testing.T, d *upstream.Directory) {
		for range 100 {
			x := newExchange(always(busy))
			if _, err := do(t.Context(), d, x); err != nil {
				t.Fatal(err)
			}
			slices.Sort(x.asked)
			if !slices.Equal(x.asked, []string{"a", "b", "c", "d"}) {
				t.Errorf("asked %v, want each once", x.asked)
			}
		}
	}, "a", "b", "c", "d")
}

func TestBudgetEndsRetries(t *testing.T) {
	p := policy.Service{
		Retry:   policy.Retry{Budget: policy.Budget{Ratio: 0.1, Floor: -1}},
		Breaker: policy.Breaker{Failures: -1, FailureRatio: -1},
	}
	within(t, p, func(t *testing.T, d *upstream.Directory) {
		retries := 0
		var last error
		for range 100 {
			x := newExchange(always(reset))
			_, last = do(t.Context(), d, x)
			retries += x.Attempts - 1
		}
		if retries != 10 || !errors.Is(last, retry.ErrBudget) {
			t.Errorf("%d retries of 100 calls, %v; want 10", retries, last)
		}
	}, "a", "b")
}

// Whose time it was says which reason is right.
func TestWhoseTime(t *testing.T) {
	const s = time.Second
	tests := map[string]struct {
		policy  policy.Service
		caller  time.Duration // 0 is none
		options time.Duration
		took    time.Duration
		tries   int
		reason  call.Reason
	}{
		"a try's, then the call's":     {timeout(3*s, 2*s), 0, 0, 3 * s, 2, call.Expired},
		"the caller's":                 {timeout(3*s, 2*s), s, 0, s, 1, call.Expired},
		"the option's":                 {timeout(30*s, 20*s), 0, s, s, 1, call.Expired},
		"all tries'":                   {timeout(30*s, s), 0, 0, 3 * s, 3, call.TryTimeout},
		"the caller's, with no policy": {timeout(-1, -1), s, 0, s, 1, call.Expired},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.policy.Retry.Backoff.Base = policy.Off
			within(t, test.policy, func(t *testing.T, d *upstream.Directory) {
				ctx := t.Context()
				if test.caller != 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.caller)
					defer cancel()
				}
				x := newExchange(hang)
				x.Options.Timeout = test.options
				begin := time.Now()
				_, err := do(ctx, d, x)
				e, _ := errors.AsType[*call.Error](err)
				if e == nil || e.Reason != test.reason || !errors.Is(err, context.DeadlineExceeded) || !e.Timeout() {
					t.Errorf("got %v, want %v", err, test.reason)
				}
				if took := time.Since(begin).Round(time.Millisecond); took != test.took || x.Attempts != test.tries {
					t.Errorf("took %v and %d attempts, want %v and %d", took, x.Attempts, test.took, test.tries)
				}
				if n := inflight(d); n != 0 {
					t.Errorf("%d attempts are still in flight", n)
				}
			}, "a", "b", "c")
		})
	}
}

// An instance that hangs must not use up the time of a caller who has less than
// the policy's; what is not safe to repeat or set by somebody is not cut short, and
// what is slow by nature hardly.
func TestTimeIsSpared(t *testing.T) {
	const own = time.Second
	for name, test := range map[string]struct {
		usual  time.Duration // what answers have taken
		policy policy.Service
		change func(x *exchange)
		tries  int
		took   time.Duration
	}{
		"a sixteenth":         {10 * time.Millisecond, policy.Service{}, nil, 2, own - own/16},
		"what it takes":       {50 * time.Millisecond, policy.Service{}, nil, 2, own - 4*50*time.Millisecond},
		"by option":           {10 * time.Millisecond, policy.Service{}, func(x *exchange) { x.Options.Timeout = 400 * time.Millisecond }, 2, 360 * time.Millisecond},
		"slow by nature":      {300 * time.Millisecond, policy.Service{}, nil, 1, own},
		"nothing known":       {0, policy.Service{}, nil, 1, own},
		"not to be repeated":  {10 * time.Millisecond, policy.Service{}, func(x *exchange) { x.Idempotent = false }, 1, own},
		"the only attempt":    {10 * time.Millisecond, policy.Service{}, func(x *exchange) { x.Options.Attempts = 1 }, 1, own},
		"set by somebody":     {10 * time.Millisecond, timeout(10*time.Second, 4*time.Second), nil, 1, own},
		"the policy has less": {10 * time.Millisecond, timeout(500*time.Millisecond, 0), nil, 2, 250 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			within(t, test.policy, func(t *testing.T, d *upstream.Directory) {
				if test.usual != 0 {
					answer(t, d, test.usual)
				}
				ctx, cancel := context.WithTimeout(t.Context(), own)
				defer cancel()
				x := newExchange(func(a *outbound.Attempt) call.Outcome {
					if a.Number == 1 {
						return hang(a)
					}
					return fine
				})
				if test.change != nil {
					test.change(x)
				}
				begin := time.Now()
				_, err := do(ctx, d, x)
				if took := time.Since(begin).Round(time.Millisecond); took < test.took || took > test.took+30*time.Millisecond || x.Attempts != test.tries {
					t.Errorf("took %v and %d attempts, want %v and %d", took, x.Attempts, test.took, test.tries)
				}
				if answered := err == nil; answered != (test.tries > 1) {
					t.Error(err)
				}
			}, "a", "b", "c")
		})
	}
}

// A pause is cut short when the caller goes, and the member is free while it lasts.
func TestPause(t *testing.T) {
	slow := policy.Service{
		Timeout: policy.Timeout{Total: policy.Off, PerTry: policy.Off},
		Retry:   policy.Retry{Backoff: policy.Backoff{Base: policy.Duration(time.Hour), Max: policy.Duration(time.Hour)}},
	}
	within(t, slow, func(t *testing.T, d *upstream.Directory) {
		ctx, cancel := context.WithCancel(t.Context())
		x := newExchange(always(reset))
		done := make(chan error)
		go func() {
			_, err := do(ctx, d, x)
			done <- err
		}()
		synctest.Wait()
		if n := inflight(d); n != 0 {
			t.Errorf("%d attempts in flight during a pause", n)
		}
		cancel()
		err := <-done
		if e, _ := errors.AsType[*call.Error](err); e == nil || e.Reason != call.Canceled || !errors.Is(err, context.Canceled) ||
			!errors.Is(err, errBroken) {
			t.Errorf("got %v, want that the caller has gone, and what the last attempt said", err)
		}
		if x.Attempts != 1 {
			t.Errorf("%d attempts", x.Attempts)
		}
	}, "a", "b")
}

func TestPauseThatWouldOutlastTheCall(t *testing.T) {
	p := timeout(10*time.Second, 5*time.Second)
	p.Retry.Backoff = policy.Backoff{Base: policy.Duration(time.Hour), Max: policy.Duration(time.Hour)}
	within(t, p, func(t *testing.T, d *upstream.Directory) {
		begin := time.Now()
		_, err := do(t.Context(), d, newExchange(always(reset)))
		if e, _ := errors.AsType[*call.Error](err); e == nil || e.Reason != call.Reset || !errors.Is(err, retry.ErrNoTime) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("took %v: there was nothing to wait for", took)
		}

		x := newExchange(always(unreachable))
		x.WaitForReady = true
		_, err = do(t.Context(), d, x)
		if e, _ := errors.AsType[*call.Error](err); e == nil || e.Reason != call.Expired || !errors.Is(err, context.DeadlineExceeded) ||
			!errors.Is(err, errBroken) {
			t.Errorf("got %v, want that time ran out, and what the last attempt said", err)
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("waited %v, want all of its time", took)
		}
	}, "a")
}

// Who waits for ready outlasts the attempts that others get.
func TestWaitForReady(t *testing.T) {
	within(t, policy.Service{Breaker: policy.Breaker{Failures: -1, FailureRatio: -1}}, func(t *testing.T, d *upstream.Directory) {
		x := newExchange(func(a *outbound.Attempt) call.Outcome {
			if a.Number < 8 {
				return unreachable
			}
			return fine
		})
		x.WaitForReady = true
		if n, err := do(t.Context(), d, x); err != nil || n != 8 {
			t.Errorf("got %d, %v, want the eighth attempt answered", n, err)
		}
	}, "a")
}

func TestNobodyToCall(t *testing.T) {
	within(t, policy.Service{}, func(t *testing.T, d *upstream.Directory) {
		x := newExchange(always(fine))
		_, err := do(t.Context(), d, x)
		if e, _ := errors.AsType[*call.Error](err); e == nil || e.Reason != call.Rejected || e.Attempts != 0 || len(x.asked) != 0 ||
			!errors.Is(err, discovery.ErrNoInstances) {
			t.Errorf("got %v", err)
		}
	})
}

func TestSilentSourceCostsTheCallsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := directory(t, silent{}, timeout(2*time.Second, time.Second))
		begin := time.Now()
		_, err := do(t.Context(), d, newExchange(always(fine)))
		if e, _ := errors.AsType[*call.Error](err); e == nil || e.Reason != call.Expired || !errors.Is(err, discovery.ErrNotReady) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("took %v, want 2s", took)
		}
	})
}

// silent knows nothing and says nothing.
type silent struct{}

// Watch implements [discovery.Source].
func (silent) Watch(ctx context.Context, _ string, _ func(discovery.Update)) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestAnAnswerIsReadOnTheCallersTime(t *testing.T) {
	within(t, timeout(2*time.Second, time.Second), func(t *testing.T, d *upstream.Directory) {
		x := newExchange(func(a *outbound.Attempt) call.Outcome {
			_ = a.Done() // somebody waits
			return fine
		})
		if _, err := outbound.Do(t.Context(), d, &x.Flight, x); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		if err := x.Attempt().Err(); err != nil {
			t.Errorf("ended while it was read: %v", err)
		}
		if n := inflight(d); n != 1 {
			t.Errorf("%d in flight while the answer is read, want 1", n)
		}
		x.End(call.Outcome{})
		x.End(call.Outcome{})
		if n := inflight(d); n != 0 {
			t.Errorf("%d in flight after the end", n)
		}
	}, "a")
}

// An instance hears of an answer when it is there, not when it was read.
func TestAnswersAreJudgedAtOnce(t *testing.T) {
	within(t, policy.Service{Balancer: policy.Balancer{PanicPercent: -1}}, func(t *testing.T, d *upstream.Directory) {
		var open []*exchange
		for range policy.Default().Breaker.Failures {
			x := newExchange(always(faulty))
			if _, err := outbound.Do(t.Context(), d, &x.Flight, x); err != nil {
				t.Fatal(err)
			}
			open = append(open, x)
		}
		if _, err := do(t.Context(), d, newExchange(always(fine))); !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("got %v, want the breaker open", err)
		}
		for _, x := range open {
			x.End(call.Outcome{})
		}
	}, "a")
}

// An instance that is ejected is not asked at all until its time has come.
func TestEjectedInstancesAreLeftAlone(t *testing.T) {
	p := policy.Service{
		Ejection: policy.Ejection{Base: policy.Duration(30 * time.Second)},
		Breaker:  policy.Breaker{Failures: -1, FailureRatio: -1},
		Balancer: policy.Balancer{Policy: policy.RoundRobin},
	}
	within(t, p, func(t *testing.T, d *upstream.Directory) {
		asked := func(span time.Duration) (n int) {
			t.Helper()
			for begin := time.Now(); time.Since(begin) < span; <-time.After(10 * time.Millisecond) {
				x := newExchange(func(a *outbound.Attempt) call.Outcome {
					if a.Member().ID == "a" {
						n++
						return busy
					}
					return fine
				})
				if _, err := do(t.Context(), d, x); err != nil {
					t.Fatal(err)
				}
			}
			return n
		}
		if n := asked(time.Second); n != 5 {
			t.Errorf("asked %d times, want to learn from 5", n)
		}
		if n := asked(29 * time.Second); n != 0 { // since the ejection not yet 30s
			t.Errorf("asked %d times while it is ejected", n)
		}
		if n := asked(time.Minute); n != 1 {
			t.Errorf("asked %d times, want once, to see that it is still bad", n)
		}
	}, "a", "b", "c")
}

// A probe that nobody answers ends with its time. If that was an attempt's, the
// breaker rests again; if it was the whole call's, which says nothing about the
// instance, the next one is let in. Where nobody has set a time, each rest lets one
// more in.
func TestProbeThatHangs(t *testing.T) {
	const s = time.Second
	for name, test := range map[string]struct {
		total, perTry time.Duration
		want          []time.Duration
	}{
		"the attempt's time": {3 * s, 2 * s, []time.Duration{5 * s, 12 * s, 19 * s}},
		"the call's time":    {3 * s, -1, []time.Duration{5 * s, 8 * s, 11 * s, 14 * s, 17 * s}},
		"no time":            {-1, -1, []time.Duration{5 * s, 10 * s, 15 * s}},
	} {
		t.Run(name, func(t *testing.T) {
			p := timeout(test.total, test.perTry)
			p.Balancer.PanicPercent = -1
			within(t, p, func(t *testing.T, d *upstream.Directory) {
				for range policy.Default().Breaker.Failures {
					_, _ = do(t.Context(), d, newExchange(always(faulty)))
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				begin := time.Now()
				let := make(chan time.Duration, 100)
				var calls sync.WaitGroup
				for time.Since(begin) < 20*s-10*time.Millisecond {
					calls.Go(func() {
						_, _ = do(ctx, d, newExchange(func(a *outbound.Attempt) call.Outcome {
							let <- time.Since(begin).Round(s)
							return hang(a)
						}))
					})
					<-time.After(10 * time.Millisecond)
				}
				cancel()
				calls.Wait()
				close(let)
				var got []time.Duration
				for at := range let {
					got = append(got, at)
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("let in at %v, want %v", got, test.want)
				}
			}, "a")
		})
	}
}

// A caller who goes away says nothing about the instance.
func TestCanceledCallIsNotHeldAgainstTheInstance(t *testing.T) {
	within(t, policy.Service{}, func(t *testing.T, d *upstream.Directory) {
		for range 3 * policy.Default().Breaker.Failures {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := do(ctx, d, newExchange(func(a *outbound.Attempt) call.Outcome {
				cancel()
				return hang(a)
			}))
			if e, _ := errors.AsType[*call.Error](err); e == nil || e.Reason != call.Canceled || e.Attempts != 1 {
				t.Fatalf("got %v", err)
			}
		}
	}, "a")
}

// A stream whose answer breaks goes on with another attempt, and never for longer
// than is safe.
func TestAgain(t *testing.T) {
	begin := func(t *testing.T, d *upstream.Directory, then call.Outcome) *exchange {
		t.Helper()
		x := newExchange(func(a *outbound.Attempt) call.Outcome {
			if a.Number == 1 {
				return call.Outcome{Sent: call.Answered}
			}
			return then
		})
		x.Stream = true
		if n, err := outbound.Do(t.Context(), d, &x.Flight, x); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		return x
	}
	within(t, policy.Service{}, func(t *testing.T, d *upstream.Directory) {
		x := begin(t, d, fine)
		first := x.Attempt()
		<-time.After(time.Minute) // a stream may last: the policy's time is not its
		if n, err := outbound.Again(&x.Flight, x, reset); err != nil || n != 2 || x.asked[0] == x.asked[1] {
			t.Errorf("got %d, %v on %v, want another attempt elsewhere", n, err, x.asked)
		}
		if first.Err() == nil || x.Attempt().Err() != nil {
			t.Errorf("the first attempt's context: %v, the second's: %v; want only the first ended", first.Err(), x.Attempt().Err())
		}
		x.End(call.Outcome{})

		x = begin(t, d, unreachable)
		_, err := outbound.Again(&x.Flight, x, reset)
		if e, _ := errors.AsType[*call.Error](err); e == nil || e.Reason != call.Unreachable || e.Attempts != 3 {
			t.Errorf("got %v, want what the last attempt said", err)
		}

		x = begin(t, d, fine)
		x.Idempotent = false
		_, err = outbound.Again(&x.Flight, x, reset)
		if e, _ := errors.AsType[*call.Error](err); e == nil || e.Reason != call.Reset || !errors.Is(err, retry.ErrUnsafe) {
			t.Errorf("got %v, want that it is not safe", err)
		}
		if n := inflight(d); n != 0 {
			t.Errorf("%d attempts are still in flight", n)
		}
	}, "a", "b", "c")
}

func TestTimedOutErrorsSayHowLong(t *testing.T) {
	within(t, timeout(2*time.Second, -1), func(t *testing.T, d *upstream.Directory) {
		_, err := do(t.Context(), d, newExchange(hang))
		if err == nil || !strings.Contains(err.Error(), "no answer within 2s") {
			t.Errorf("got %v", err)
		}
	}, "a")
}

// A second attempt goes to another zone, as long as there is somebody.
func TestNoZoneTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		var all []discovery.Instance
		for i, zone := range []string{"1", "1", "1", "1", "2"} {
			id := string(rune('a' + i))
			all = append(all, discovery.Instance{ID: id, Address: id + ":80", Region: "eu", Zone: zone})
		}
		if err := registry.Set("web", all...); err != nil {
			t.Fatal(err)
		}
		d := directory(t, registry, policy.Service{
			Retry:   policy.Retry{Attempts: 3, Budget: policy.Budget{Ratio: -1}},
			Breaker: policy.Breaker{Failures: -1, FailureRatio: -1}, Ejection: policy.Ejection{Failures: -1},
		})
		for range 50 {
			x := newExchange(always(busy))
			if _, err := do(t.Context(), d, x); err != nil {
				t.Fatal(err)
			}
			if x.asked[0] != "e" && x.asked[1] != "e" {
				t.Fatalf("asked %v, want the other zone's e second", x.asked)
			}
			slices.Sort(x.asked)
			if len(slices.Compact(x.asked)) != 3 {
				t.Fatalf("asked %v, want three", x.asked)
			}
		}
	})
}

// What serves a further attempt is not tried again, unless nothing was sent.
func TestNestedCallsAreNotRetried(t *testing.T) {
	within(t, policy.Service{}, func(t *testing.T, d *upstream.Directory) {
		for serving, want := range map[int]int{0: 3, 1: 3, 2: 1} {
			x := newExchange(always(reset))
			_, err := do(call.Serving(t.Context(), call.Inbound{Attempt: serving}), d, x)
			if x.Attempts != want || errors.Is(err, retry.ErrNested) != (want == 1) {
				t.Errorf("serving %d: %d attempts, %v", serving, x.Attempts, err)
			}
		}
		x := newExchange(always(unreachable))
		if _, err := do(call.Serving(t.Context(), call.Inbound{Attempt: 2}), d, x); x.Attempts != 3 {
			t.Errorf("unreachable: %d attempts, %v", x.Attempts, err)
		}
	}, "a", "b", "c")
}

// No attempt is made that no instance would answer in time.
func TestNoAttemptThatCanNotFinish(t *testing.T) {
	p := timeout(time.Second, -1)
	p.Retry.Backoff.Base = policy.Off
	within(t, p, func(t *testing.T, d *upstream.Directory) {
		slow := func(out call.Outcome, took time.Duration) func(*outbound.Attempt) call.Outcome {
			return func(*outbound.Attempt) call.Outcome { <-time.After(took); return out }
		}
		for range 20 { // both become known
			if _, err := do(t.Context(), d, newExchange(slow(fine, 300*time.Millisecond))); err != nil {
				t.Fatal(err)
			}
		}
		x := newExchange(slow(reset, 800*time.Millisecond))
		if _, err := do(t.Context(), d, x); x.Attempts != 1 || !errors.Is(err, retry.ErrNoTime) {
			t.Errorf("%d attempts, %v", x.Attempts, err)
		}
		x = newExchange(slow(reset, 300*time.Millisecond))
		if _, _ = do(t.Context(), d, x); x.Attempts < 2 {
			t.Errorf("%d attempts, although there was time", x.Attempts)
		}
	}, "a", "b")
}
