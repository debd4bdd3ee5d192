package breaker

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Options say when a breaker opens and how it closes again. The zero value is
// the documented default.
type Options struct {
	// Failures is how many failures in a row open the breaker. Default 5;
	// negative: a row of failures alone does not.
	Failures int
	// Ratio is the share of failures within Window that opens the breaker, 0
	// to 1. Default 0.5; negative: the share alone does not.
	Ratio float64
	// MinRequests is how many outcomes Window must hold before Ratio counts.
	// Default 20.
	MinRequests int
	// Window is how long an outcome is remembered. Default 10 s.
	Window time.Duration
	// Open is how long the breaker rests before it lets probes in. Default 5 s.
	Open time.Duration
	// Probes is how many calls are let in after the rest; all must succeed for
	// the breaker to close, and one failure opens it again. One that has not
	// ended after Open makes room for another. Default 1.
	Probes int
}

// buckets is into how many parts Window rolls on.
const buckets = 10

func (o Options) withDefaults() Options {
	o.Failures = cmp.Or(o.Failures, 5)
	o.Ratio = cmp.Or(o.Ratio, 0.5)
	o.MinRequests = cmp.Or(o.MinRequests, 20)
	o.Window = cmp.Or(o.Window, 10*time.Second)
	o.Open = cmp.Or(o.Open, 5*time.Second)
	o.Probes = cmp.Or(o.Probes, 1)
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
	fault(o.Ratio > 1, "Ratio", o.Ratio, "must not exceed 1")
	fault(o.MinRequests < 0, "MinRequests", o.MinRequests, "must not be negative")
	fault(o.Window < 0, "Window", o.Window, "must not be negative")
	fault(o.Open < 0, "Open", o.Open, "must not be negative")
	fault(o.Probes < 0, "Probes", o.Probes, "must not be negative")
	return errors.Join(faults...)
}
