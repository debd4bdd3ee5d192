package policy

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
)

// Validate reports all mistakes at once, each a [Fault] with the path of its
// field, joined as [errors.Join] does. Fields that say nothing are right; what
// two fields say is compared only if both are said here, so validate the
// merged policy too: see [Effective.Validate].
func (s Service) Validate() error {
	var c checker
	s.check(&c)
	return c.err()
}

func (s Service) check(c *checker) {
	s.Timeout.check(c)
	s.Retry.check(c)
	s.Balancer.check(c)
	s.Breaker.check(c)
	s.Ejection.check(c)
	s.Limits.check(c)
	s.Connections.check(c)
	s.HTTP.check(c)
	s.Hedge.check(c)
	s.Inbound.check(c)
	checkInjections(c, s.Inject)
	c.hashes("stick", s.Stick)
	checkMirrors(c, s.Mirror, s.Subsets, s.Subsets != nil)
	s.checkRoutes(c)
}

// checker collects the faults of a policy.
type checker struct {
	faults []Fault
	// base is the path of what is looked at now: fields are named from there.
	base string
	// origin says who set a field. Nil when that is not known.
	origin func(path string) string
}

func (c *checker) err() error {
	errs := make([]error, len(c.faults))
	for i, f := range c.faults {
		errs[i] = f
	}
	return errors.Join(errs...)
}

// thatf notes a fault unless ok.
func (c *checker) thatf(ok bool, path, format string, args ...any) {
	if ok {
		return
	}
	f := Fault{Path: below(c.base, path), Message: fmt.Sprintf(format, args...)}
	if c.origin != nil {
		f.Message += fmt.Sprintf(" (set by %s)", quote(c.origin(f.Path)))
	}
	c.faults = append(c.faults, f)
}

// in looks at what lies at a path, seen from where the checker is.
func (c *checker) in(path string, check func(c *checker)) {
	outer := c.base
	c.base = below(outer, path)
	check(c)
	c.base = outer
}

// below is the path of a field seen from base; a field "" is base itself.
func below(base, path string) string {
	if base == "" || path == "" || path[0] == '[' {
		return base + path
	}
	return base + "." + path
}

// name is how a message speaks of another field.
func (c *checker) name(path string) string {
	path = below(c.base, path)
	if c.origin == nil {
		return path
	}
	return fmt.Sprintf("%s (set by %s)", path, quote(c.origin(path)))
}

func (c *checker) count(path string, n, most int) {
	c.thatf(n >= 0 && n <= most, path, "%d is out of range: must be 1 to %d", n, most)
}

func (c *checker) limit(path string, l Limit) {
	c.thatf(l >= None && l <= maxCount, path, `%d is out of range: must be 1 to %d, "off" or "none"`, int(l), maxCount)
}

// one wants one of several fields to be said, and not more; must says whether
// none is a mistake too.
func (c *checker) one(said map[string]bool, must bool) {
	names := slices.Sorted(maps.Keys(said))
	n := 0
	for _, is := range said {
		if is {
			n++
		}
	}
	c.thatf(n > 0 || !must, "", "says none of %s: one is needed", strings.Join(names, ", "))
	c.thatf(n <= 1, "", "says more than one of %s: keep one", strings.Join(names, ", "))
}

// regex wants an RE2 expression.
func (c *checker) regex(path, expression string) {
	if expression == "" {
		return
	}
	c.thatf(len(expression) <= maxRegex, path, "has %d characters: at most %d are allowed", len(expression), maxRegex)
	_, err := regexp.Compile(expression)
	c.thatf(err == nil, path, "is not an RE2 expression: %v", err)
}

func (c *checker) ratio(path string, r float64) {
	c.thatf(within(r, 1), path, "%v is out of range: must be above 0 and at most 1, or -1 for off", r)
}

func (c *checker) oneOf(path, value string, allowed ...string) {
	c.thatf(value == "" || slices.Contains(allowed, value), path, "%s is not known: must be %s", quote(value), either(allowed))
}

// within says whether v is unsaid, off, or above zero and at most limit.
// Infinity and the negative zero have no place in a document, so they are
// refused in code as well.
func within(v, limit float64) bool {
	if v == 0 {
		return !math.Signbit(v)
	}
	return v <= limit && !math.IsInf(v, -1)
}

func either(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " or ")
}
