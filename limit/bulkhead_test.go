package limit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/limit"
)

func enter(t *testing.T, b *limit.Bulkhead) limit.Leave {
	t.Helper()
	l, err := b.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestBulkheadIsFull(t *testing.T) {
	b := limit.NewBulkhead("db", limit.BulkheadOptions{Limit: 2})
	first := enter(t, b)
	enter(t, b)
	_, err := b.Enter(t.Context())
	full, ok := errors.AsType[*limit.FullError](err)
	if !ok || !errors.Is(err, limit.ErrFull) || full.Name != "db" || full.Limit != 2 || full.Waited != 0 {
		t.Fatalf("a third: %v", err)
	}
	first.Done(call.OK)
	enter(t, b)
	if b.Inflight() != 2 {
		t.Errorf("in flight: %d", b.Inflight())
	}
}

func TestBulkheadQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limit.NewBulkhead("db", limit.BulkheadOptions{Limit: 1, Queue: 2, Wait: 50 * time.Millisecond})
		first := enter(t, b)
		var order []int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				l, err := b.Enter(t.Context())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				time.Sleep(10 * time.Millisecond)
				l.Done(call.OK)
			})
			synctest.Wait()
		}
		if _, err := b.Enter(t.Context()); !errors.Is(err, limit.ErrFull) {
			t.Errorf("beyond the queue: %v", err)
		}
		if b.Waiting() != 2 {
			t.Errorf("waiting: %d", b.Waiting())
		}
		time.Sleep(20 * time.Millisecond)
		first.Done(call.OK)
		wg.Wait()
		if fmt.Sprint(order) != "[0 1]" || b.Inflight() != 0 || b.Waiting() != 0 {
			t.Errorf("let in: %v, %d in flight, %d waiting", order, b.Inflight(), b.Waiting())
		}
	})
}

func TestBulkheadWaitsNoLongerThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limit.NewBulkhead("db", limit.BulkheadOptions{Limit: 1, Queue: 5, Wait: 50 * time.Millisecond})
		enter(t, b)
		began := time.Now()
		_, err := b.Enter(t.Context())
		if full, ok := errors.AsType[*limit.FullError](err); !ok || full.Waited != 50*time.Millisecond || time.Since(began) != full.Waited {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		gone := errors.New("the user left")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, gone)
		defer cancel()
		began = time.Now()
		if _, err := b.Enter(ctx); !errors.Is(err, gone) || time.Since(began) != 10*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if b.Waiting() != 0 {
			t.Errorf("%d are still waiting", b.Waiting())
		}
	})
}

// Whoever comes, waits, gives up and goes: never more than the limit are in, and
// in the end nobody is, nor waits.
func TestBulkheadKeepsItsAccounts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := limit.BulkheadOptions{
			Limit: rapid.IntRange(1, 4).Draw(rt, "limit"),
			Queue: rapid.IntRange(0, 4).Draw(rt, "queue"),
			Wait:  time.Duration(rapid.IntRange(1, 30).Draw(rt, "wait")) * time.Millisecond,
		}
		type visit struct{ at, patience, stay time.Duration }
		var visits []visit
		for range rapid.IntRange(1, 25).Draw(rt, "visits") {
			ms := func(what string, most int) time.Duration {
				return time.Duration(rapid.IntRange(0, most).Draw(rt, what)) * time.Millisecond
			}
			visits = append(visits, visit{ms("at", 60), 1 + ms("patience", 40), ms("stay", 20)})
		}
		synctest.Test(t, func(t *testing.T) {
			b := limit.NewBulkhead("db", o)
			var in atomic.Int64
			var wg sync.WaitGroup
			for _, v := range visits {
				wg.Go(func() {
					time.Sleep(v.at)
					ctx, cancel := context.WithTimeout(t.Context(), v.patience)
					defer cancel()
					l, err := b.Enter(ctx)
					if err != nil {
						return
					}
					if n := in.Add(1); n > int64(o.Limit) {
						t.Errorf("%d are in, the limit is %d", n, o.Limit)
					}
					time.Sleep(v.stay)
					in.Add(-1)
					l.Done(call.OK)
				})
			}
			wg.Wait()
			if b.Inflight() != 0 || b.Waiting() != 0 {
				t.Errorf("%d in flight and %d waiting when all have gone", b.Inflight(), b.Waiting())
			}
			for range o.Limit {
				enter(t, b)
			}
		})
		if t.Failed() {
			rt.FailNow()
		}
	})
}

func TestBulkheadDoesNotAllocate(t *testing.T) {
	b := limit.NewBulkhead("db", limit.BulkheadOptions{})
	ctx := t.Context()
	if got := testing.AllocsPerRun(1000, func() {
		l, _ := b.Enter(ctx)
		l.Done(call.OK)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestBulkheadUnbounded(t *testing.T) {
	b := limit.NewBulkhead("db", limit.BulkheadOptions{Limit: -1})
	for range 5000 {
		enter(t, b)
	}
}

func TestOptionsNameEveryFault(t *testing.T) {
	for _, c := range []struct {
		err    error
		fields []string
	}{
		{limit.BulkheadOptions{Queue: -1, Wait: -1}.Validate(), []string{"Queue", "Wait"}},
		{limit.RateOptions{PerSecond: -1, Burst: -1, Wait: -1}.Validate(), []string{"PerSecond", "Burst", "Wait"}},
		{
			limit.AdaptiveOptions{
				Min: -1, Max: -2, Initial: -1, Tolerance: -1, Window: -1, Interval: -1, Probe: -1, ProbeCalls: 300,
			}.Validate(),
			[]string{"Min", "Max", "Initial", "Tolerance", "Window", "Interval", "Probe", "ProbeCalls"},
		},
	} {
		for _, field := range c.fields {
			if c.err == nil || !strings.Contains(c.err.Error(), field+" is") {
				t.Errorf("%v does not name %s", c.err, field)
			}
		}
	}
	if err := errors.Join(
		limit.BulkheadOptions{}.Validate(), limit.RateOptions{}.Validate(), limit.AdaptiveOptions{}.Validate(),
	); err != nil {
		t.Error(err)
	}
}

func TestPriorityWords(t *testing.T) {
	for _, p := range []limit.Priority{limit.Default, limit.Critical, limit.Degraded, limit.Background} {
		if got, err := limit.ParsePriority(p.String()); got != p || err != nil {
			t.Errorf("%v: %v, %v", p, got, err)
		}
	}
	if _, err := limit.ParsePriority("urgent"); err == nil {
		t.Error("accepted an unknown word")
	}
}

func BenchmarkBulkhead(b *testing.B) {
	bulkhead := limit.NewBulkhead("db", limit.BulkheadOptions{})
	b.ReportAllocs()
	for b.Loop() {
		l, _ := bulkhead.Enter(b.Context())
		l.DoneAt(0, call.OK)
	}
}
