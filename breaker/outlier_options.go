package breaker

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"
)

// OutlierOptions say when an instance that does worse than its siblings is taken
// out of rotation, after Envoy's outlier detection and gRPC's A50. The zero value
// is the documented default.
type OutlierOptions struct {
	// Failures is how many failures in a row eject an instance. Default 5;
	// negative: a row alone does not.
	Failures int
	// GatewayFailures is the same for 502, 503 and 504 alone. Default: it does
	// not.
	GatewayFailures int
	// FailureRatio is the share of failures within Window that ejects an
	// instance, 0 to 1. Default 0.5; negative: the share alone does not.
	FailureRatio float64
	// MinRequests is how many outcomes of an instance Window must hold before
	// FailureRatio counts. Default 20.
	MinRequests int
	// Deviations is by how many standard deviations the success rate of an
	// instance may lie below the mean of all. Default 1.9; negative: success
	// rates are not compared.
	Deviations float64
	// MinGap is by how much it must lie below in any case, 0 to 1: among perfect
	// instances one of 99.9 % is no outlier. Default 0.1; negative: any gap will
	// do, as in Envoy.
	MinGap float64
	// MinInstances is how many instances must have RateRequests outcomes within
	// Window before success rates are compared. Default 5.
	MinInstances int
	// RateRequests is how many outcomes make a success rate. Default 100.
	RateRequests int
	// Window is how long an outcome is remembered. Default 10 s.
	Window time.Duration
	// Interval is how often success rates are compared, and how long a good
	// instance takes to be forgiven one ejection. Default 10 s.
	Interval time.Duration
	// Base is how long the first ejection lasts; each further one lasts as much
	// longer. Default 30 s.
	Base time.Duration
	// Max is the longest ejection, jitter aside. Default 300 s, or Base if that
	// is more.
	Max time.Duration
	// Jitter is by which part at most an ejection is longer, at random, so that
	// many clients do not come back at once. Default 0.2; negative: none.
	Jitter float64
	// MaxEjectedRatio is how much of a service may be out at once, 0 to 1,
	// though always one instance. Default 0.3.
	MaxEjectedRatio float64
	// Strict does without that one: a service of which MaxEjectedRatio is less
	// than an instance never has one ejected, as in Envoy.
	Strict bool
	// PanicRatio is how much of a service must stay in, 0 to 1, whatever else is
	// said; the last instance always does. Default 0.5; negative: only that.
	PanicRatio float64
	// EnforceRatio is the chance that an instance that should be ejected is. 0
	// to 1. Default 1.
	EnforceRatio float64
}

func (o OutlierOptions) withDefaults() OutlierOptions {
	o.Failures = cmp.Or(o.Failures, 5)
	o.FailureRatio = cmp.Or(o.FailureRatio, 0.5)
	o.MinRequests = cmp.Or(o.MinRequests, 20)
	o.Deviations = cmp.Or(o.Deviations, 1.9)
	o.MinGap = max(cmp.Or(o.MinGap, 0.1), 0)
	o.MinInstances = cmp.Or(o.MinInstances, 5)
	o.RateRequests = cmp.Or(o.RateRequests, 100)
	o.Window = cmp.Or(o.Window, 10*time.Second)
	o.Interval = cmp.Or(o.Interval, 10*time.Second)
	o.Base = cmp.Or(o.Base, 30*time.Second)
	o.Max = max(cmp.Or(o.Max, 300*time.Second), o.Base)
	o.Jitter = max(cmp.Or(o.Jitter, 0.2), 0)
	o.MaxEjectedRatio = cmp.Or(o.MaxEjectedRatio, 0.3)
	o.PanicRatio = max(cmp.Or(o.PanicRatio, 0.5), 0)
	o.EnforceRatio = cmp.Or(o.EnforceRatio, 1)
	return o
}

// Validate names every field that is out of range.
func (o OutlierOptions) Validate() error {
	var faults []error
	fault := func(bad bool, field string, value any, rule string) {
		if bad {
			faults = append(faults, fmt.Errorf("%s is %v: %s", field, value, rule))
		}
	}
	ratio := func(field string, value float64) {
		fault(!(value <= 1), field, value, "must not exceed 1")
	}
	positive := func(field string, value int64) {
		fault(value < 0, field, value, "must not be negative")
	}
	ratio("FailureRatio", o.FailureRatio)
	ratio("MinGap", o.MinGap)
	ratio("Jitter", o.Jitter)
	ratio("MaxEjectedRatio", o.MaxEjectedRatio)
	ratio("PanicRatio", o.PanicRatio)
	ratio("EnforceRatio", o.EnforceRatio)
	fault(o.Deviations != o.Deviations, "Deviations", o.Deviations, "must be a number")
	fault(o.MaxEjectedRatio < 0, "MaxEjectedRatio", o.MaxEjectedRatio, "must not be negative")
	fault(o.EnforceRatio < 0, "EnforceRatio", o.EnforceRatio, "must not be negative")
	positive("MinRequests", int64(o.MinRequests))
	positive("MinInstances", int64(o.MinInstances))
	positive("RateRequests", int64(o.RateRequests))
	positive("Window", int64(o.Window))
	positive("Interval", int64(o.Interval))
	positive("Base", int64(o.Base))
	positive("Max", int64(o.Max))
	return errors.Join(faults...)
}

// atMost is how many of n instances may be out at once.
func (o OutlierOptions) atMost(n int) int {
	limit := int(o.MaxEjectedRatio * float64(n))
	if !o.Strict {
		limit = max(limit, 1)
	}
	return max(min(limit, n-max(atLeast(n, o.PanicRatio), 1)), 0)
}

// atLeast is the panic floor of n instances.
func atLeast(n int, ratio float64) int { return int(math.Ceil(ratio*float64(n) - 1e-9)) }

// Panicking says whether fewer than ratio of all instances are open. Whoever
// picks should then take any: when most of a service seems to be bad, calling all
// of it does less harm than calling the rest of it to death. A ratio of 0 or less
// is never.
func Panicking(open, total int, ratio float64) bool { return open < atLeast(total, ratio) }
