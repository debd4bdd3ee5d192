package retry_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/retry"
)

// Whatever the traffic, no ten seconds see more retries than the calls of twice
// that span and the floor have paid for, and a spent budget fills again.
func TestBudgetIsNeverOverdrawn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ratio := rapid.Float64Range(0.01, 1).Draw(t, "ratio")
		floor := rapid.Float64Range(0.1, 3).Draw(t, "floor")
		b := retry.NewBudget(retry.BudgetOptions{Ratio: ratio, Floor: floor})
		var calls, retries []time.Duration
		now := time.Duration(0)
		count := func(events []time.Duration, span time.Duration) (n int) {
			for _, at := range events {
				if now-at < span {
					n++
				}
			}
			return n
		}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			now += time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "gap"))
			if rapid.Bool().Draw(t, "call") {
				b.Deposit(now)
				calls = append(calls, now)
			}
			if b.Withdraw(now) {
				retries = append(retries, now)
			}
			paid := ratio*float64(count(calls, 20*time.Second)) + floor*10
			if got := count(retries, 9*time.Second); float64(got) > paid {
				t.Fatalf("%d retries at %v, but only %.1f were paid for", got, now, paid)
			}
		}
		now += 11 * time.Second
		if floor*10 >= 1 && !b.Withdraw(now) {
			t.Fatal("an idle budget does not have its floor")
		}
	})
}

func TestBudgetUnderContention(t *testing.T) {
	b := retry.NewBudget(retry.BudgetOptions{Ratio: 0.1, Floor: -1})
	for range 1000 {
		b.Deposit(0)
	}
	var paid atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if b.Withdraw(0) {
					paid.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got := paid.Load(); got != 100 {
		t.Errorf("paid for %d retries, want 100", got)
	}
	if got := b.Left(0); got != 0 {
		t.Errorf("left %v, want 0", got)
	}
}

func TestUnboundedBudget(t *testing.T) {
	b := retry.NewBudget(retry.BudgetOptions{Ratio: -1})
	for range 1000 {
		if !b.Withdraw(0) {
			t.Fatal("refused")
		}
	}
}

func BenchmarkDeposit(b *testing.B) {
	budget := retry.NewBudget(retry.BudgetOptions{})
	b.ReportAllocs()
	for b.Loop() {
		budget.Deposit(time.Second)
	}
}
