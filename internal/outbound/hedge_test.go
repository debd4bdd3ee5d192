package outbound_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/outbound"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

// several is an exchange whose attempts may go side by side: each takes its time
// or is canceled.
type several struct {
	*exchange
	mu      sync.Mutex
	takes   func(n int) (time.Duration, call.Outcome)
	at      []time.Duration // when attempts began
	gone    []int           // who was given up
	chosen  int
	began   time.Time
	refuses bool
}

func newSeveral(takes func(n int) (time.Duration, call.Outcome)) *several {
	return &several{exchange: newExchange(nil), takes: takes, began: time.Now()}
}

// Prepare implements [outbound.Hedger].
func (s *several) Prepare(a *outbound.Attempt) func() (int, call.Outcome) {
	s.asked = append(s.asked, a.Member().ID)
	s.at = append(s.at, time.Since(s.began))
	if s.refuses {
		s.each = func(a *outbound.Attempt) call.Outcome { _, out := s.send(a); return out }
		return nil
	}
	return func() (int, call.Outcome) { return s.send(a) }
}

func (s *several) send(a *outbound.Attempt) (int, call.Outcome) {
	took, out := s.takes(a.Number)
	select {
	case <-time.After(took):
		return a.Number, out
	case <-a.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gone = append(s.gone, a.Number)
		return 0, call.Outcome{Reason: call.Reset, Sent: call.SentUnknown, Err: a.Err()}
	}
}

// Choose implements [outbound.Hedger].
func (s *several) Choose(a *outbound.Attempt) { s.chosen = a.Number }

// Discard implements [outbound.Exchange], also beside other attempts.
func (s *several) Discard(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exchange.Discard(n)
}

// doSeveral carries the call with a given way to be hedged.
func doSeveral(ctx context.Context, d *upstream.Directory, s *several) (int, error) {
	n, err := outbound.Do[int](ctx, d, &s.Flight, s)
	if err == nil {
		s.End(call.Outcome{})
	}
	synctest.Wait()
	return n, err
}

func TestRaces(t *testing.T) {
	const ms = time.Millisecond
	type took struct {
		d   time.Duration
		out call.Outcome
	}
	tests := map[string]struct {
		takes    []took
		attempts int // of the policy
		want     int // who answers, 0 is nobody
		tries    int
		end      time.Duration
	}{
		"quick":                      {[]took{{9 * ms, fine}}, 3, 1, 1, 9 * ms},
		"the second":                 {[]took{{time.Hour, fine}, {3 * ms, fine}}, 3, 2, 2, 13 * ms},
		"the first after all":        {[]took{{15 * ms, fine}, {30 * ms, fine}}, 3, 1, 2, 15 * ms},
		"the third":                  {[]took{{time.Hour, fine}, {time.Hour, fine}, {ms, fine}}, 3, 3, 3, 21 * ms},
		"no third":                   {[]took{{25 * ms, fine}, {time.Hour, fine}}, 2, 1, 2, 25 * ms},
		"busy, then better":          {[]took{{20 * ms, fine}, {ms, busy}}, 2, 1, 2, 20 * ms},
		"reset, then better":         {[]took{{11 * ms, reset}, {5 * ms, fine}}, 2, 2, 2, 15 * ms},
		"both busy, then a retry":    {[]took{{12 * ms, busy}, {5 * ms, busy}, {ms, fine}}, 2, 3, 3, 16 * ms},
		"all at the same moment":     {[]took{{20 * ms, fine}, {10 * ms, fine}}, 2, -1, 2, 20 * ms},
		"what fails before its time": {[]took{{5 * ms, reset}, {ms, fine}}, 2, 2, 2, 6 * ms},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := policy.Service{
				Hedge: policy.Hedge{After: policy.Duration(10 * ms), Attempts: test.attempts},
				Retry: policy.Retry{Budget: policy.Budget{Ratio: -1}, Backoff: policy.Backoff{Base: policy.Off}},
			}
			within(t, p, func(t *testing.T, d *upstream.Directory) {
				s := newSeveral(func(n int) (time.Duration, call.Outcome) { return test.takes[n-1].d, test.takes[n-1].out })
				s.each = func(a *outbound.Attempt) call.Outcome { _, out := s.send(a); return out } // of retries
				n, err := doSeveral(t.Context(), d, s)
				if err != nil || test.want > 0 && n != test.want || s.Attempts != test.tries {
					t.Errorf("answered by %d of %d, %v; want %d of %d", n, s.Attempts, err, test.want, test.tries)
				}
				if end := time.Since(s.began).Round(ms); end != test.end {
					t.Errorf("took %v, want %v", end, test.end)
				}
				if test.tries == 2 && test.want > 0 && test.end > 10*ms && s.chosen != test.want {
					t.Errorf("chose %d", s.chosen)
				}
				if inflight(d) != 0 {
					t.Errorf("%d attempts are still under way", inflight(d))
				}
				seen := map[string]bool{}
				for _, id := range s.asked {
					seen[id] = true
				}
				if len(seen) != s.Attempts {
					t.Errorf("asked %v, want different ones", s.asked)
				}
			}, "a", "b", "c")
		})
	}
}

// Without another instance, or for a call that serves a further attempt, or that
// the protocol can not send twice at once, there is no race.
func TestNoRace(t *testing.T) {
	p := policy.Service{Hedge: policy.Hedge{After: policy.Duration(time.Millisecond)}}
	slow := func(int) (time.Duration, call.Outcome) { return time.Second, fine }
	tests := map[string]struct {
		ids    []string
		change func(ctx context.Context, s *several) context.Context
	}{
		"alone":   {[]string{"a"}, func(ctx context.Context, _ *several) context.Context { return ctx }},
		"refused": {[]string{"a", "b"}, func(ctx context.Context, s *several) context.Context { s.refuses = true; return ctx }},
		"nested": {[]string{"a", "b"}, func(ctx context.Context, s *several) context.Context {
			s.each = func(a *outbound.Attempt) call.Outcome { _, out := s.send(a); return out }
			return call.Serving(ctx, call.Inbound{Attempt: 2})
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			within(t, p, func(t *testing.T, d *upstream.Directory) {
				s := newSeveral(slow)
				if _, err := doSeveral(test.change(t.Context(), s), d, s); err != nil || s.Attempts != 1 {
					t.Errorf("%d attempts, %v", s.Attempts, err)
				}
			}, test.ids...)
		})
	}
}

// A caller that leaves takes all of its attempts along.
func TestRaceIsCanceled(t *testing.T) {
	p := policy.Service{Hedge: policy.Hedge{After: policy.Duration(time.Millisecond)}, Timeout: policy.Timeout{Total: policy.Off}}
	within(t, p, func(t *testing.T, d *upstream.Directory) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		s := newSeveral(func(int) (time.Duration, call.Outcome) { return time.Hour, fine })
		_, err := doSeveral(ctx, d, s)
		if err == nil || s.Attempts != 2 || len(s.gone) != 2 || time.Since(s.began) != 10*time.Millisecond || inflight(d) != 0 {
			t.Errorf("%v after %v, %d attempts, %v gone, %d in flight", err, time.Since(s.began), s.Attempts, s.gone, inflight(d))
		}
	}, "a", "b", "c")
}

// The live percentile follows what answers take, and losers do not make it
// shorter than it is.
func TestHedgeByPercentile(t *testing.T) {
	p := policy.Service{
		Hedge: policy.Hedge{Percentile: 90},
		Retry: policy.Retry{Budget: policy.Budget{Ratio: -1}},
	}
	within(t, p, func(t *testing.T, d *upstream.Directory) {
		extra := 0
		const calls = 3000
		for i := range calls {
			s := newSeveral(func(n int) (time.Duration, call.Outcome) {
				if n == 1 && i%20 == 0 {
					return time.Second, fine
				}
				return time.Duration(10+i%10) * time.Millisecond, fine
			})
			s.each = func(a *outbound.Attempt) call.Outcome { _, out := s.send(a); return out }
			if _, err := doSeveral(t.Context(), d, s); err != nil {
				t.Fatal(err)
			}
			if i < 100 && s.Attempts > 1 {
				t.Fatal("hedged although too little was known")
			}
			if i > 1000 {
				extra += s.Attempts - 1
			}
		}
		if share := float64(extra) / (calls - 1001); share < 0.03 || share > 0.2 {
			t.Errorf("%.3f of the calls had a second attempt, want about 0.1", share)
		}
	}, "a", "b", "c")
}

// An instance that loses every race is taken for slow; one whose callers all go away
// is not.
func TestWhoLosesIsSlow(t *testing.T) {
	const early = 10 * time.Millisecond
	slowest := func(d *upstream.Directory) (most time.Duration) {
		for _, m := range d.All()[0].Members() {
			most = max(most, m.Load().Latency(mono.Now()))
		}
		return most
	}
	p := policy.Service{
		Balancer: policy.Balancer{Policy: policy.RoundRobin},
		Hedge:    policy.Hedge{After: policy.Duration(early)},
		Retry:    policy.Retry{Budget: policy.Budget{Ratio: -1}},
	}
	within(t, p, func(t *testing.T, d *upstream.Directory) {
		for range 20 {
			s := &stuck{newSeveral(nil)}
			if _, err := outbound.Do[int](t.Context(), d, &s.Flight, s); err != nil {
				t.Fatal(err)
			}
			s.End(call.Outcome{})
			synctest.Wait()
		}
		if took := slowest(d); took < 100*early {
			t.Errorf("who has lost ten races is expected to take %v", took)
		}
	}, "a", "b")
	within(t, p, func(t *testing.T, d *upstream.Directory) {
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(early/2, cancel)
			if _, err := doSeveral(ctx, d, newSeveral(func(int) (time.Duration, call.Outcome) { return time.Hour, fine })); err == nil {
				t.Fatal("answered")
			}
		}
		if took := slowest(d); took > early {
			t.Errorf("whose callers go away is expected to take %v", took)
		}
	}, "a", "b")
}

// stuck is a call that the instance a never answers.
type stuck struct{ *several }

// Prepare implements [outbound.Hedger].
func (s *stuck) Prepare(a *outbound.Attempt) func() (int, call.Outcome) {
	return func() (int, call.Outcome) {
		if a.Member().ID != "a" {
			return a.Number, fine
		}
		return 0, hang(a)
	}
}

// Once nobody knows any more how long answers take, no further attempt is made.
func TestHedgeByForgottenPercentile(t *testing.T) {
	const took = 400 * time.Millisecond
	p := policy.Service{
		Hedge: policy.Hedge{Percentile: 90, Attempts: 3},
		Retry: policy.Retry{Budget: policy.Budget{Ratio: -1}},
	}
	twice := 0
	for quiet := 28 * time.Second; quiet < 32*time.Second; quiet += took / 4 {
		within(t, p, func(t *testing.T, d *upstream.Directory) {
			var all sync.WaitGroup
			for range 200 {
				x := newExchange(func(*outbound.Attempt) call.Outcome { <-time.After(took); return fine })
				all.Go(func() { _, _ = do(t.Context(), d, x) })
			}
			all.Wait()
			<-time.After(31 * time.Second)
			if _, err := doSeveral(t.Context(), d, newSeveral(func(int) (time.Duration, call.Outcome) { return 0, fine })); err != nil {
				t.Fatal(err)
			}
			<-time.After(quiet)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			s := newSeveral(func(int) (time.Duration, call.Outcome) { return time.Hour, fine })
			s.each = func(a *outbound.Attempt) call.Outcome { _, out := s.send(a); return out }
			_, _ = doSeveral(ctx, d, s)
			if len(s.at) > 1 {
				twice++
			}
			if len(s.at) > 2 && s.at[2]-s.at[1] < took/2 {
				t.Errorf("after %v without calls: attempts at %v", quiet, s.at)
			}
		}, "a", "b", "c")
	}
	if twice == 0 {
		t.Error("nothing was hedged")
	}
}
