package retry

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Options say how often and how fast calls are tried again. The zero value is
// the documented default.
type Options struct {
	// Attempts bounds the tries of a call, the first one included. Default 3;
	// 1 means no retry.
	Attempts int
	// On lists what is tried again. Default (nil) [DefaultConditions]; empty:
	// nothing is.
	On []Condition
	// Statuses are HTTP statuses that are tried again beside that.
	Statuses []int
	// Base is the ceiling of the first wait; it doubles with each further one.
	// The wait itself is drawn evenly from zero to the ceiling. Default 25 ms.
	Base time.Duration
	// Max is where the ceiling stops growing. Default 250 ms.
	Max time.Duration
	// Nested has calls tried again, too, that are made to serve one that is
	// itself a further attempt.
	Nested bool
	// Budget bounds the retries of all calls to a destination.
	Budget BudgetOptions
}

// BudgetOptions say how much of the live traffic may be retries.
type BudgetOptions struct {
	// Ratio is how many retries each call of the last ten seconds pays for.
	// Default 0.2; negative: retries are not bounded.
	Ratio float64
	// Floor is how many retries a second are free. Every client has its own
	// floor, so a thousand clients have a thousand. Default 1; negative: none.
	Floor float64
}

func (o Options) withDefaults() Options {
	o.Attempts = cmp.Or(o.Attempts, 3)
	if o.On == nil {
		o.On = DefaultConditions()
	}
	o.Base = cmp.Or(o.Base, 25*time.Millisecond)
	o.Max = max(cmp.Or(o.Max, 250*time.Millisecond), o.Base)
	o.Budget.Ratio = cmp.Or(o.Budget.Ratio, 0.2)
	o.Budget.Floor = max(cmp.Or(o.Budget.Floor, 1), 0)
	return o
}

// Validate names every field that is out of range.
func (o Options) Validate() error {
	var faults []error
	fault := func(bad bool, field string, value any, rule string) {
		if bad {
			faults = append(faults, fmt.Errorf("%s is %v: %s", field, value, rule))
		}
	}
	fault(o.Attempts < 0, "Attempts", o.Attempts, "must not be negative; 1 means no retry")
	fault(o.Base < 0, "Base", o.Base, "must not be negative")
	fault(o.Max < 0, "Max", o.Max, "must not be negative")
	fault(o.Budget.Ratio > 1, "Budget.Ratio", o.Budget.Ratio, "must not exceed 1")
	return errors.Join(append(faults, validateConditions(o.On))...)
}
