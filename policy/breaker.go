package policy

import "time"

// Breaker says when an instance that fails is left alone for a while. It is
// tripped by failures in a row or by their ratio, whichever comes first. Each
// instance has its own, and every attempt counts.
type Breaker struct {
	// Failures is how many failures in a row trip the breaker, at most
	// 1000000. -1 means that none do.
	// Default: 5. Example: 10.
	Failures int `json:"failures,omitzero"`
	// FailureRatio is the share of failed attempts within the window that trips
	// the breaker, above 0 and at most 1. -1 means that none does.
	// Default: 0.5. Example: 0.25.
	FailureRatio float64 `json:"failureRatio,omitzero"`
	// MinRequests is how many attempts the window must hold before
	// failureRatio is looked at, 1 to 1000000.
	// Default: 20. Example: 100.
	MinRequests int `json:"minRequests,omitzero"`
	// Window is how far back failureRatio looks. It can not be off, and 10ms
	// is the least.
	// Default: 10s. Example: "30s".
	Window Duration `json:"window,omitzero"`
	// Open is how long a tripped instance is left alone before it is tried
	// again. "off" switches the whole breaker off.
	// Default: 5s. Example: "20s".
	Open Duration `json:"open,omitzero"`
	// Probes is how many attempts then go to the instance as a trial, 1 to 100:
	// if all succeed it is used again, if one fails it is left alone once more.
	// One that takes longer than open makes room for another.
	// Default: 1. Example: 3.
	Probes int `json:"probes,omitzero"`
}

const (
	maxCount  = 1_000_000
	maxProbes = 100
	minWindow = Duration(10 * time.Millisecond)
)

// Off says whether the breaker can never trip.
func (b Breaker) Off() bool {
	return b.Open < 0 || b.Failures < 0 && b.FailureRatio < 0
}

func (b Breaker) check(c *checker) {
	c.thatf(b.Failures <= maxCount, "breaker.failures", "%d is too large: must be 1 to %d, or -1 for off", b.Failures, maxCount)
	c.ratio("breaker.failureRatio", b.FailureRatio)
	c.count("breaker.minRequests", b.MinRequests, maxCount)
	c.thatf(b.Window == 0 || b.Window >= minWindow, "breaker.window", "%s is too short: must be at least %s", b.Window, minWindow)
	c.count("breaker.probes", b.Probes, maxProbes)
}
