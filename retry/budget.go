package retry

import (
	"sync"
	"time"

	"github.com/innermesh/innermesh/internal/window"
)

// Budget is the one purse that pays for all retries to a destination: each live
// call puts in a share of a retry, each retry takes a whole one out, and both
// are forgotten after ten seconds (Finagle's RetryBudget, with exact buckets).
// It is safe for concurrent use; a deposit is one atomic addition.
type Budget struct {
	ratio, floor float64
	calls        *window.Counter

	mu      sync.Mutex // makes look-and-take one step
	retries *window.Counter
}

// budgetSpan is how long calls and retries are remembered, in budgetBuckets.
const (
	budgetSpan    = 10 * time.Second
	budgetBuckets = 10
)

// NewBudget returns a budget that has seen no call yet: only its floor is in it.
func NewBudget(o BudgetOptions) *Budget {
	o = Options{Budget: o}.withDefaults().Budget
	return &Budget{
		ratio: o.Ratio, floor: o.Floor,
		calls:   window.New(budgetSpan, budgetBuckets),
		retries: window.New(budgetSpan, budgetBuckets),
	}
}

// Deposit counts a live call.
func (b *Budget) Deposit(now time.Duration) { b.calls.Add(now, 1) }

// Withdraw takes one retry out, or says that there is none left.
func (b *Budget) Withdraw(now time.Duration) bool {
	if b.ratio < 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left(now) < 1 {
		return false
	}
	b.retries.Add(now, 1)
	return true
}

// Bounded says whether there is an end to the budget at all.
func (b *Budget) Bounded() bool { return b.ratio >= 0 }

// Left returns how many retries the budget would pay for now. It is 0 when the
// budget is unbounded.
func (b *Budget) Left(now time.Duration) float64 {
	if b.ratio < 0 {
		return 0
	}
	return max(b.left(now), 0)
}

func (b *Budget) left(now time.Duration) float64 {
	allowed := b.ratio*float64(b.calls.Sum(now)) + b.floor*budgetSpan.Seconds()
	return allowed - float64(b.retries.Sum(now))
}
