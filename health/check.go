package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind says what a failing check means.
type Kind uint8

// The kinds of checks.
const (
	// Required: the program is not ready while it fails.
	Required Kind = iota
	// Informational: the program works without, not as well: a warning, which
	// lowers its weight.
	Informational
	// Vital: the program is beyond help while it fails and has to be started anew.
	// It fails /livez, and /readyz too. Never ask a dependency in it: all copies
	// would be started anew when the dependency is down.
	Vital
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Required:
		return "required"
	case Informational:
		return "informational"
	default:
		return "vital"
	}
}

// Check is a question that is asked again and again.
type Check struct {
	// Name tells it from its siblings. Required.
	Name string
	// Func asks: nil is a pass. It should end with ctx; while it does not, it is
	// not called again, and counts as failing. A panic is a failure. What its error
	// says is shown on /readyz, in the registry and in the log: leave secrets out.
	// Required.
	Func func(ctx context.Context) error
	// Kind says what it means when it fails. Default: Required.
	Kind Kind
	// Interval is the pause between the end of one run and the next; a tenth of it
	// is left to chance. Default: 10 s.
	Interval time.Duration
	// Timeout is how long a run may take. Default: 3 s, and not more than Interval.
	Timeout time.Duration
	// Up and Down are how many runs in a row must pass or fail before a check that
	// was the other way counts as passing or failing. The first run counts at once.
	// Default: 1 and 3.
	Up, Down int
}

// Validate names everything that is wrong with the check.
func (c Check) Validate() error {
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, fmt.Errorf("check %q: %s %w", c.Name, field, fmt.Errorf(format, args...)))
	}
	if c.Name == "" {
		fault("Name", "is empty: give it one")
	}
	if c.Func == nil {
		fault("Func", "is nil: what is to be asked?")
	}
	if c.Kind > Vital {
		fault("Kind", "is %d: want Required, Informational or Vital", c.Kind)
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"Interval", c.Interval}, {"Timeout", c.Timeout}, {"Up", time.Duration(c.Up)}, {"Down", time.Duration(c.Down)}} {
		if d.value < 0 {
			fault(d.field, "is negative: want 0 (default) or more")
		}
	}
	return errors.Join(faults...)
}

// withDefaults fills in what is not said.
func (c Check) withDefaults() Check {
	c.Interval = cmp.Or(c.Interval, 10*time.Second)
	c.Timeout = cmp.Or(c.Timeout, min(3*time.Second, c.Interval))
	c.Up, c.Down = cmp.Or(c.Up, 1), cmp.Or(c.Down, 3)
	return c
}
