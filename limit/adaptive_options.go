package limit

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// AdaptiveOptions say how an adaptive limit behaves. The zero value is the
// documented default.
type AdaptiveOptions struct {
	// Min and Max bound the limit. Default 4 and 1000.
	Min, Max int
	// Initial is the limit before anything is known. Default 20, within Min and
	// Max.
	Initial int
	// Tolerance is by how much of the unloaded latency answers may be slower
	// before the limit shrinks. Default 0.35: with Envoy's 0.25 a baseline that
	// was measured a little low costs a twentieth of the capacity.
	Tolerance float64
	// Window is how often the limit moves, if there are answers enough. Default
	// 100 ms.
	Window time.Duration
	// Interval is how often the unloaded latency is measured, give or take 15 %.
	// Default 60 s.
	Interval time.Duration
	// Probe is how many calls are under way at least while measuring. Default 3.
	Probe int
	// ProbeCalls is how many calls are measured, up to 256. Default 50.
	ProbeCalls int
	// Seed decides the moments of measuring, for simulations. Default 0: chance
	// does.
	Seed uint64
}

func (o AdaptiveOptions) withDefaults() AdaptiveOptions {
	o.Min = cmp.Or(o.Min, 4)
	o.Max = max(cmp.Or(o.Max, 1000), o.Min)
	o.Initial = min(max(cmp.Or(o.Initial, 20), o.Min), o.Max)
	o.Tolerance = cmp.Or(o.Tolerance, 0.35)
	o.Window = cmp.Or(o.Window, 100*time.Millisecond)
	o.Interval = cmp.Or(o.Interval, time.Minute)
	o.Probe = cmp.Or(o.Probe, 3)
	o.ProbeCalls = cmp.Or(o.ProbeCalls, 50)
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	return o
}

// Validate names every field that is out of range.
func (o AdaptiveOptions) Validate() error {
	var faults []error
	fault := func(bad bool, field string, value any, rule string) {
		if bad {
			faults = append(faults, fmt.Errorf("%s is %v: %s", field, value, rule))
		}
	}
	fault(o.Min < 0, "Min", o.Min, "must not be negative")
	fault(o.Max < 0 || o.Max > 0 && o.Max < o.Min, "Max", o.Max, "must not be less than Min")
	fault(o.Initial < 0, "Initial", o.Initial, "must not be negative")
	fault(!(o.Tolerance >= 0), "Tolerance", o.Tolerance, "must not be negative")
	fault(o.Window < 0, "Window", o.Window, "must not be negative")
	fault(o.Interval < 0, "Interval", o.Interval, "must not be negative")
	fault(o.Probe < 0, "Probe", o.Probe, "must not be negative")
	fault(o.ProbeCalls < 0 || o.ProbeCalls > samples, "ProbeCalls", o.ProbeCalls, fmt.Sprintf("must be 1 to %d", samples))
	return errors.Join(faults...)
}

// middle returns the median of what it sorts.
func middle(values []int64) int64 {
	slices.Sort(values)
	return values[len(values)/2]
}
