package cluster

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
)

// guarded is a guard beside a breaker that is asked about every attempt.
type guarded struct {
	*guard
	plain   *breaker.Breaker
	answers uint64
}

func newGuarded(o breaker.Options) *guarded {
	g := &guarded{guard: &guard{window: o.Window}, plain: breaker.New("plain", o, nil)}
	g.Breaker = breaker.New("guarded", o, nil)
	return g
}

// attempt makes one attempt on both, and says who let it in.
func (g *guarded) attempt(r call.Reason) (guarded, plain bool) {
	if leave, err := g.plain.Enter(); err == nil {
		leave.Done(r)
		plain = true
	}
	leave, about, err := g.enter()
	if err == nil {
		g.answers++
		g.judge(mono.Now(), leave, about, r, g.answers)
	}
	return err == nil, plain
}

// What is judged by rows of failures is judged the same, whatever happens.
func TestGuardIsItsBreaker(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		fault := ""
		defer func() {
			if fault != "" {
				r.Fatal(fault)
			}
		}()
		synctest.Test(t, func(*testing.T) {
			g := newGuarded(breaker.Options{Failures: 3, Ratio: -1, Window: 10 * time.Second, Open: 5 * time.Second, Probes: 2})
			for step := range rapid.IntRange(1, 200).Draw(r, "steps") {
				time.Sleep(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 10, 2500, 5001, 11_000}).Draw(r, "ms")) * time.Millisecond)
				reason := rapid.SampledFrom([]call.Reason{call.OK, call.OK, call.Faulty, call.Faulty, call.Canceled}).Draw(r, "reason")
				if a, b := g.attempt(reason); a != b {
					fault = fmt.Sprintf("step %d: let in %v, and %v by a breaker that is always asked", step, a, b)
					return
				}
			}
		})
	})
}

// The share of failures is that of all answers, those before the doubt included.
func TestGuardRemembersSuccesses(t *testing.T) {
	for before, open := range map[int]bool{0: true, 5: true, 60: false, 150: false} {
		synctest.Test(t, func(t *testing.T) {
			g := newGuarded(breaker.Options{Failures: -1, Ratio: 0.5, MinRequests: 20, Window: 10 * time.Second})
			for range before {
				g.attempt(call.OK)
				time.Sleep(10 * time.Millisecond)
			}
			for range 30 {
				g.attempt(call.Faulty)
			}
			mine, _ := g.State()
			plain, _ := g.plain.State()
			if mine != plain || (mine == breaker.Open) != open {
				t.Errorf("after %d successes and 30 failures the guard's is %v, the other %v", before, mine, plain)
			}
		})
	}
}

// Doubt ends: a member that answers well again is trusted again.
func TestDoubtEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(breaker.Options{Window: 10 * time.Second})
		g.attempt(call.Faulty)
		for _, after := range []struct {
			wait  time.Duration
			doubt bool
		}{{0, true}, {9 * time.Second, true}, {time.Second, false}} {
			time.Sleep(after.wait)
			g.attempt(call.OK)
			if doubt := g.doubt.Load() != 0; doubt != after.doubt {
				t.Errorf("doubt is %v after %v more", doubt, after.wait)
			}
		}
		g.attempt(call.OK) // the first that is trusted
		if n := g.pace.recent(g.answers + 1); n != 1 {
			t.Errorf("%d answers are known of, though one was trusted", n)
		}
	})
}

// A pick and its finish allocate nothing where nobody is in doubt.
func TestPickAllocatesNothing(t *testing.T) {
	v := viewOf("1", "1", "1")
	for _, m := range v.members {
		g := &guard{window: 10 * time.Second}
		g.Breaker = breaker.New(m.ID, breaker.Options{}, nil)
		m.guard.Store(g)
	}
	now := mono.Now()
	if n := testing.AllocsPerRun(1000, func() {
		p, err := v.Pick(balancer.Info{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		p.Judge(now, time.Millisecond, call.Outcome{})
		p.Release()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
