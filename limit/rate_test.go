package limit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/limit"
)

func TestRate(t *testing.T) {
	r := limit.NewRate("db", limit.RateOptions{PerSecond: 10, Burst: 3})
	now := time.Hour
	for range 3 {
		if err := r.EnterAt(now); err != nil {
			t.Fatal(err)
		}
	}
	err := r.EnterAt(now)
	late, ok := errors.AsType[*limit.RateError](err)
	if !ok || !errors.Is(err, limit.ErrRate) || late.Name != "db" || late.PerSecond != 10 || late.RetryAfter != 100*time.Millisecond {
		t.Fatalf("a fourth: %v", err)
	}
	if err := r.EnterAt(now + late.RetryAfter); err != nil {
		t.Errorf("after %v: %v", late.RetryAfter, err)
	}
}

// In any span no more are let in than the bucket holds and the span brings, and
// who waits as long as he was told to is let in.
func TestRateIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := limit.RateOptions{
			PerSecond: rapid.Float64Range(0.1, 1000).Draw(t, "rate"), Burst: rapid.IntRange(0, 20).Draw(t, "burst"),
		}
		r := limit.NewRate("db", o)
		burst := float64(o.Burst)
		if o.Burst == 0 {
			burst = max(float64(int(o.PerSecond)), 1) + 1
		}
		var in []time.Duration
		now := time.Hour
		for range rapid.IntRange(1, 200).Draw(t, "calls") {
			now += time.Duration(rapid.Int64Range(0, int64(100*time.Millisecond)).Draw(t, "gap"))
			err := r.EnterAt(now)
			if late, ok := errors.AsType[*limit.RateError](err); ok && rapid.Bool().Draw(t, "waits") {
				now += late.RetryAfter + time.Microsecond
				err = r.EnterAt(now)
				if err != nil {
					t.Fatalf("came back after %v: %v", late.RetryAfter, err)
				}
			}
			if err == nil {
				in = append(in, now)
			}
		}
		for i, from := range in {
			if most := burst + o.PerSecond*(in[len(in)-1]-from).Seconds() + 1e-3; float64(len(in)-i) > most {
				t.Fatalf("%d were let in since %v, want at most %.1f", len(in)-i, from, most)
			}
		}
	})
}

func TestRateWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := limit.NewRate("db", limit.RateOptions{PerSecond: 10, Burst: 1, Wait: 150 * time.Millisecond})
		began := time.Now()
		for i := range 2 {
			if l, err := r.Enter(t.Context()); err != nil {
				t.Fatal(err)
			} else if l.Done(call.OK); time.Since(began) != time.Duration(i)*100*time.Millisecond {
				t.Errorf("call %d after %v", i, time.Since(began))
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := r.Enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("canceled: %v", err)
		}
		began = time.Now()
		if _, err := r.Enter(t.Context()); err != nil || time.Since(began) != 50*time.Millisecond {
			t.Errorf("who gave up kept the turn: %v after %v", err, time.Since(began))
		}
		fast := limit.NewRate("db", limit.RateOptions{PerSecond: 10, Burst: 1, Wait: 50 * time.Millisecond})
		if _, err := fast.Enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := fast.Enter(t.Context()); !errors.Is(err, limit.ErrRate) {
			t.Errorf("longer than it may wait: %v", err)
		}
	})
}

func TestNoRate(t *testing.T) {
	r := limit.NewRate("db", limit.RateOptions{})
	for range 10_000 {
		if _, err := r.Enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRatesAreApartAndBounded(t *testing.T) {
	r := limit.NewRates("db", limit.RateOptions{PerSecond: 1, Burst: 1}, 1000)
	now := time.Hour
	if err := errors.Join(r.EnterAt(now, "a"), r.EnterAt(now, "b")); err != nil {
		t.Fatal(err)
	}
	if err := r.EnterAt(now, "a"); !errors.Is(err, limit.ErrRate) {
		t.Errorf("a again: %v", err)
	}
	for i := range 100_000 {
		if err := r.EnterAt(now, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.Len(); got > 1000 {
		t.Errorf("remembers %d keys", got)
	}
	if _, err := r.Enter(t.Context(), "new"); err != nil {
		t.Error(err)
	}
}

func TestBulkheadsAreApartAndBounded(t *testing.T) {
	b := limit.NewBulkheads("db", limit.BulkheadOptions{Limit: 1}, 10)
	ctx := t.Context()
	in, err := b.Enter(ctx, "busy")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		l, err := b.Enter(ctx, fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		l.Done(call.OK)
	}
	if _, err := b.Enter(ctx, "busy"); !errors.Is(err, limit.ErrFull) {
		t.Errorf("a key with a call under way was forgotten: %v", err)
	}
	in.Done(call.OK)
	var held []limit.Leave
	for i := range 10 {
		l, err := b.Enter(ctx, fmt.Sprint("held", i))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
	}
	l, err := b.Enter(ctx, "one") // there is no room: these two share
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Enter(ctx, "two"); !errors.Is(err, limit.ErrFull) {
		t.Errorf("beyond the bound: %v", err)
	}
	if got := b.Len(); got != 10 {
		t.Errorf("remembers %d keys", got)
	}
	for _, l := range append(held, l) {
		l.Done(call.OK)
	}
	if _, err := b.Enter(ctx, "two"); err != nil {
		t.Errorf("when all have gone: %v", err)
	}
}

func BenchmarkRates(b *testing.B) {
	r := limit.NewRates("db", limit.RateOptions{PerSecond: 1e9}, 0)
	b.ReportAllocs()
	for b.Loop() {
		_ = r.EnterAt(time.Hour, "tenant")
	}
}
