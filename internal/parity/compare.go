package parity

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// draws is how often a split is tried.
const draws = 100_000

// deviations is how far from its share a leg may be drawn, in standard
// deviations: one true splitter in three million is that unlucky.
const deviations = 5.2

// Subject is what is compared with a sidecar.
type Subject interface {
	// Upstream is the whole plan in the words of this package, with nothing in
	// Defects.
	Upstream() *Upstream
	// Decide routes a request by the subject's own means.
	Decide(r Request) (Decision, error)
	// Draw routes it and picks a leg; it returns the leg's target.
	Draw(r Request) (target string, err error)
}

// Comparison says what to compare, and how.
type Comparison struct {
	// Requests are routed by both.
	Requests []Request
	// Except are fields in which the two may differ, as in "Limits.Retries". Each
	// needs its reason in the documentation.
	Except []string
}

// Run returns all differences between what the sidecar does, which should be
// [Upstream.Documented], and the subject: first the plan, then what becomes of
// each request, then the shares over 100,000 draws. Shares are exact in the plan,
// so that a rare leg is compared as well.
func (c Comparison) Run(want *Upstream, got Subject) error {
	var errs []error
	if diff := Diff(want, got.Upstream(), c.Except...); diff != "" {
		errs = append(errs, fmt.Errorf("plan (-sidecar +subject):\n%s", diff))
	}
	for _, r := range c.Requests {
		if err := c.request(want, got, r); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r, err))
		}
	}
	return errors.Join(errs...)
}

// Diff compares two plans, decisions or parts of them, but for the fields named.
// It is empty if they are the same; a nil list and an empty one are.
func Diff[T any](want, got T, except ...string) string {
	excepted := gocmp.FilterPath(func(p gocmp.Path) bool {
		field, ok := p.Last().(gocmp.StructField)
		return ok && slices.Contains(except, p.Index(-2).Type().Name()+"."+field.Name())
	}, gocmp.Ignore())
	return gocmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateApprox(0, 1e-12), excepted)
}

func (c Comparison) request(want *Upstream, got Subject, r Request) error {
	w, err := want.Evaluate(r)
	if err != nil {
		return err
	}
	g, err := got.Decide(r)
	if err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	if diff := Diff(w, g, c.Except...); diff != "" {
		return fmt.Errorf("decision (-sidecar +subject):\n%s", diff)
	}
	if len(w.Legs) < 2 {
		return nil
	}
	counts := map[string]int{}
	for range draws {
		target, err := got.Draw(r)
		if err != nil {
			return fmt.Errorf("draw: %w", err)
		}
		counts[target]++
	}
	return checkShares(w, counts)
}

// checkShares compares what was drawn with the shares. Legs may have one target.
func checkShares(d Decision, counts map[string]int) error {
	shares := map[string]float64{}
	for _, leg := range d.Legs {
		shares[leg.Target] += leg.Share
	}
	var errs []error
	for _, target := range slices.Sorted(maps.Keys(counts)) {
		if shares[target] == 0 {
			errs = append(errs, fmt.Errorf("drawn %s %d times, which has no share", target, counts[target]))
		}
	}
	for _, target := range slices.Sorted(maps.Keys(shares)) {
		p := shares[target]
		mean, width := p*draws, deviations*math.Sqrt(draws*p*(1-p))
		// Where the mean is small the normal distribution is too narrow on its right.
		if n := float64(counts[target]); n < mean-width || n > mean+width+deviations {
			errs = append(errs, fmt.Errorf("drawn %s %v times of %d, want %.0f ± %.0f", target, n, draws, mean, width))
		}
	}
	return errors.Join(errs...)
}
