package limit_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/limit"
)

// run has calls end after took, as many at once as are let in up to most.
func run(a *limit.Adaptive, now *time.Duration, most int, times int, took func(inflight int) time.Duration, r call.Reason) {
	for range times {
		var in []limit.Leave
		for len(in) < most {
			l, err := a.EnterAt(*now, limit.Default)
			if err != nil {
				break
			}
			in = append(in, l)
		}
		*now += took(len(in))
		for _, l := range in {
			l.DoneAt(*now, r)
		}
	}
}

func constant(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

func TestAdaptiveMeasuresFirst(t *testing.T) {
	a := limit.NewAdaptive("db", limit.AdaptiveOptions{})
	now := time.Hour
	var in []limit.Leave
	for range 3 {
		l, err := a.EnterAt(now, limit.Default)
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, l)
	}
	_, err := a.EnterAt(now, limit.Default)
	over, ok := errors.AsType[*limit.OverloadError](err)
	if !ok || !errors.Is(err, limit.ErrOverloaded) || over.Name != "db" || over.Priority != limit.Default {
		t.Fatalf("a fourth while measuring: %v", err)
	}
	critical, err := a.EnterAt(now, limit.Critical)
	if err != nil {
		t.Fatalf("critical while measuring: %v", err)
	}
	now += time.Second
	critical.DoneAt(now, call.OK) // not calm: it does not count
	for _, l := range in {
		l.DoneAt(now-990*time.Millisecond, call.OK)
	}
	run(a, &now, 3, 20, constant(10*time.Millisecond), call.OK)
	if base, measuring := a.Baseline(); measuring || base != 10*time.Millisecond {
		t.Errorf("baseline %v, measuring %v", base, measuring)
	}
	if a.Inflight() != 0 {
		t.Errorf("in flight: %d", a.Inflight())
	}
}

func TestAdaptiveFollowsTheOtherSide(t *testing.T) {
	a := limit.NewAdaptive("db", limit.AdaptiveOptions{})
	now := time.Hour
	carries := 40
	took := func(n int) time.Duration { // alike up to what is carried, then in line
		return 10 * time.Millisecond * time.Duration(max(n, carries)) / time.Duration(carries)
	}
	run(a, &now, 1000, 1000, took, call.OK)
	if got := a.Limit(); got < 40 || got > 80 {
		t.Errorf("limit %d, the other side carries 40", got)
	}
	carries = 10
	run(a, &now, 1000, 20_000, took, call.OK)
	if got := a.Limit(); got < 8 || got > 25 {
		t.Errorf("limit %d, the other side carries 10", got)
	}
}

// At light load the limit must not climb where nobody has been.
func TestAdaptiveGrowsOnlyWhereItWas(t *testing.T) {
	a := limit.NewAdaptive("db", limit.AdaptiveOptions{})
	now := time.Hour
	run(a, &now, 8, 10_000, constant(10*time.Millisecond), call.OK)
	if got := a.Limit(); got > 40 {
		t.Errorf("limit %d with 8 under way", got)
	}
}

func TestAdaptiveObeysPushback(t *testing.T) {
	for _, r := range []call.Reason{call.Throttled, call.Unavailable} {
		a := limit.NewAdaptive("db", limit.AdaptiveOptions{})
		now := time.Hour
		run(a, &now, 3, 20, constant(10*time.Millisecond), call.OK)
		run(a, &now, 100, 300, constant(10*time.Millisecond), r)
		if got := a.Limit(); got > 15 {
			t.Errorf("limit %d after nothing but %v", got, r)
		}
	}
}

// A side that fails at once is not fast.
func TestAdaptiveDoesNotTimeFailures(t *testing.T) {
	a := limit.NewAdaptive("db", limit.AdaptiveOptions{})
	now := time.Hour
	run(a, &now, 3, 20, constant(10*time.Millisecond), call.OK)
	before := a.Limit()
	for _, r := range []call.Reason{call.Faulty, call.Unreachable, call.Reset, call.Canceled} {
		run(a, &now, 20, 500, constant(time.Microsecond), r)
	}
	if got := a.Limit(); got != before {
		t.Errorf("limit %d after failures, was %d", got, before)
	}
}

func TestAdaptiveShedsTheLeastImportantFirst(t *testing.T) {
	a := limit.NewAdaptive("db", limit.AdaptiveOptions{})
	now := time.Hour
	run(a, &now, 3, 20, constant(10*time.Millisecond), call.OK)
	full := a.Limit()
	for _, c := range []struct {
		priority limit.Priority
		most     int
	}{{limit.Background, full / 2}, {limit.Degraded, full * 4 / 5}, {limit.Default, full}, {limit.Critical, 4 * full}} {
		for {
			if _, err := a.EnterAt(now, c.priority); err != nil {
				break
			}
		}
		if got := a.Inflight(); got != c.most {
			t.Errorf("%v: %d under way, want %d of %d", c.priority, got, c.most, full)
		}
	}
}

// Whatever happens the limit keeps its bounds, and accounts are kept.
func TestAdaptiveKeepsItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := limit.AdaptiveOptions{Min: 2, Max: 30, ProbeCalls: rapid.IntRange(1, 30).Draw(t, "probes"), Interval: time.Second}
		a := limit.NewAdaptive("db", o)
		now := time.Hour
		var in []limit.Leave
		for range rapid.IntRange(1, 500).Draw(t, "steps") {
			now += time.Duration(rapid.Int64Range(0, int64(200*time.Millisecond)).Draw(t, "gap"))
			if len(in) > 0 && rapid.Bool().Draw(t, "leaves") {
				i := rapid.IntRange(0, len(in)-1).Draw(t, "who")
				in[i].DoneAt(now, rapid.SampledFrom(call.Reasons()).Draw(t, "reason"))
				in = append(in[:i], in[i+1:]...)
			} else if l, err := a.EnterAt(now, rapid.SampledFrom([]limit.Priority{0, 1, 2, 3}).Draw(t, "priority")); err == nil {
				in = append(in, l)
			}
			if a.Limit() < 2 || a.Limit() > 30 || a.Inflight() != len(in) {
				t.Fatalf("limit %d, in flight %d of %d", a.Limit(), a.Inflight(), len(in))
			}
		}
	})
}

func TestAdaptiveDoesNotAllocate(t *testing.T) {
	a := limit.NewAdaptive("db", limit.AdaptiveOptions{})
	ctx := t.Context()
	if got := testing.AllocsPerRun(10_000, func() {
		l, err := a.Enter(ctx, limit.Default)
		if err != nil {
			t.Fatal(err)
		}
		l.Done(call.OK)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := a.Enter(ended, limit.Critical); !errors.Is(err, context.Canceled) {
		t.Errorf("let in a call that nobody waits for: %v", err)
	}
}

func BenchmarkAdaptive(b *testing.B) {
	a := limit.NewAdaptive("db", limit.AdaptiveOptions{})
	b.ReportAllocs()
	now := time.Hour
	for b.Loop() {
		now += time.Microsecond
		l, _ := a.EnterAt(now, limit.Default)
		l.DoneAt(now+time.Millisecond, call.OK)
	}
}
