package saga

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Retry says how a step is tried again.
type Retry struct {
	// Attempts bounds the attempts, the first one included. Default: see [Step].
	// Negative: no bound.
	Attempts int
	// Base is how long to wait after the first attempt. It doubles with each one,
	// up to Max; of that a random half to whole is waited. Defaults 100 ms, 30 s.
	Base, Max time.Duration
	// Final says of an error that no further attempt makes sense. Errors that are
	// [Permanent] or [NoEffect] are final anyway.
	Final func(error) bool
}

func (r Retry) validate(field string) error {
	if r.Base < 0 || r.Max < 0 {
		return fmt.Errorf("%s.Base, Max are %v, %v: must not be negative", field, r.Base, r.Max)
	}
	return nil
}

func (r Retry) withDefaults(attempts int) Retry {
	r.Attempts = cmp.Or(r.Attempts, attempts)
	r.Base = cmp.Or(r.Base, 100*time.Millisecond)
	r.Max = max(cmp.Or(r.Max, 30*time.Second), r.Base)
	return r
}

// spent says whether no attempt is left after n.
func (r Retry) spent(n int) bool { return r.Attempts > 0 && n >= r.Attempts }

// after returns how long to wait after attempt n, which counts from 1.
func (r Retry) after(n int) time.Duration {
	d := r.Max
	if shift := n - 1; shift < 32 && r.Base<<shift>>shift == r.Base {
		d = min(r.Base<<shift, r.Max)
	}
	return d - time.Duration(rand.Int64N(int64(d/2)+1))
}

func (r Retry) final(err error) bool {
	return marked(err) || r.Final != nil && r.Final(err)
}

// Permanent marks an error as final: the step is not tried again. What it may
// have done is undone.
func Permanent(err error) error { return mark(err, false) }

// NoEffect marks an error as final like [Permanent], and says that this attempt
// is sure to have changed nothing, such as a payment that was declined. If all
// attempts of a step end so, it is not undone.
func NoEffect(err error) error { return mark(err, true) }

func mark(err error, noEffect bool) error {
	if err == nil {
		return nil
	}
	return &markedError{err: err, noEffect: noEffect}
}

type markedError struct {
	err      error
	noEffect bool
}

// Error returns the text of what was marked.
func (e *markedError) Error() string { return e.err.Error() }

// Unwrap returns what was marked.
func (e *markedError) Unwrap() error { return e.err }

func marked(err error) bool {
	_, ok := errors.AsType[*markedError](err)
	return ok
}

func harmless(err error) bool {
	e, ok := errors.AsType[*markedError](err)
	return ok && e.noEffect
}
