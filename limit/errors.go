package limit

import (
	"errors"
	"fmt"
	"time"
)

// The causes of refusals.
var (
	// ErrFull: too many calls are under way. The error is a [*FullError].
	ErrFull = errors.New("too many calls under way")
	// ErrRate: calls come too fast. The error is a [*RateError].
	ErrRate = errors.New("too many calls a second")
	// ErrOverloaded: the other side can not carry more. The error is an
	// [*OverloadError].
	ErrOverloaded = errors.New("overloaded")
)

// FullError says which bulkhead was full.
type FullError struct {
	// Name is what the bulkhead guards.
	Name string
	// Limit is how many calls it lets in at once.
	Limit int
	// Waited is how long the call stood in the queue; 0 if there was no room
	// for it even there.
	Waited time.Duration
}

// Error tells what was full and what helps.
func (e *FullError) Error() string {
	if e.Waited > 0 {
		return fmt.Sprintf("%v for %s: none of %d places became free in %v; send fewer at once, or raise the limit",
			ErrFull, e.Name, e.Limit, e.Waited)
	}
	return fmt.Sprintf("%v for %s: all %d places are taken; send fewer at once, or raise the limit", ErrFull, e.Name, e.Limit)
}

// Unwrap returns [ErrFull].
func (e *FullError) Unwrap() error { return ErrFull }

// RateError says whose rate was exceeded, and when to come back.
type RateError struct {
	// Name is what the rate is of.
	Name string
	// PerSecond is the rate.
	PerSecond float64
	// RetryAfter is how long it takes until a call would be let in, if no other
	// comes first.
	RetryAfter time.Duration
}

// Error tells which rate was exceeded and when to come back.
func (e *RateError) Error() string {
	return fmt.Sprintf("%v for %s: %v are let in; try again in %v", ErrRate, e.Name, e.PerSecond, e.RetryAfter.Round(time.Millisecond))
}

// Unwrap returns [ErrRate].
func (e *RateError) Unwrap() error { return ErrRate }

// OverloadError says who can not carry more.
type OverloadError struct {
	// Name is what the limit guards.
	Name string
	// Limit is how many calls may be under way right now for one more of the
	// priority to be let in. It is small while the unloaded latency is measured.
	Limit int
	// Priority is that of the refused call.
	Priority Priority
}

// Error tells who is overloaded and what helps.
func (e *OverloadError) Error() string {
	return fmt.Sprintf("%s is %v: all %d places for priority %s are taken; try again later, elsewhere or not at all",
		e.Name, ErrOverloaded, e.Limit, e.Priority)
}

// Unwrap returns [ErrOverloaded].
func (e *OverloadError) Unwrap() error { return ErrOverloaded }
