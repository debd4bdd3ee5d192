package parity

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Subject is what is compared with a sidecar.
type Subject interface {
	// Upstream is the whole plan in the words of this package, with nothing in
	// Defects.
	Upstream() *Upstream
	// Decide routes a request by the subject's own means.
	Decide(r Request) (Decision, error)
	// Draw routes it and picks an instance, the second one if it is for a retry.
	Draw(r Request, retry bool) (Drawn, error)
	// Call sends it to an instance that answers with [Request.Answer].
	Call(r Request) (Seen, error)
}

// Drawn is where a call went.
type Drawn struct {
	// Leg is the target of the leg, Level that of the level.
	Leg, Level string
	// Address is that of the instance. Empty, as Level: there is nobody to call.
	Address string
	// Before is the level of the attempt that is retried.
	Before string
}

// Comparison says what to compare, and how.
type Comparison struct {
	// Requests are routed by both.
	Requests []Request
	// Except are ways in which the two may differ. Each needs its reason in the
	// documentation.
	Except []Exception
}

// Exception is one way in which the two may differ.
type Exception struct {
	// Field is where, as in "Limits.Retries".
	Field string
	// Allowed says whether these two values may stand there.
	Allowed func(sidecar, subject any) bool
}

// Run returns all differences between what the sidecar does, which should be
// [Upstream.Documented], and the subject: first the plan, then what becomes of
// each request, then where calls go, in 100,000 draws where there is a split, and some real ones.
// Shares are exact in the plan, so that a rare leg is compared as well.
func (c Comparison) Run(want *Upstream, got Subject) error {
	var errs []error
	plan := got.Upstream()
	if diff := Diff(want, plan, c.Except...); diff != "" {
		errs = append(errs, fmt.Errorf("plan (-sidecar +subject):\n%s", diff))
	}
	for _, r := range c.Requests {
		if err := c.request(want, plan, got, want.probe(r)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r, err))
		}
	}
	return errors.Join(errs...)
}

// Diff compares two plans, decisions or parts of them, but for the exceptions.
// It is empty if they are the same; a nil list and an empty one are.
func Diff[T any](want, got T, except ...Exception) string {
	excepted := gocmp.FilterPath(func(p gocmp.Path) bool {
		field, ok := p.Last().(gocmp.StructField)
		if !ok {
			return false
		}
		name := p.Index(-2).Type().Name() + "." + field.Name()
		w, g := field.Values()
		return slices.ContainsFunc(except, func(e Exception) bool {
			return e.Field == name && w.IsValid() && g.IsValid() && e.Allowed(w.Interface(), g.Interface())
		})
	}, gocmp.Ignore())
	return gocmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateApprox(0, 1e-12), excepted)
}

// probe adds all headers to a request and its response that somebody changes and
// nobody looks at, so that each change is seen.
func (u *Upstream) probe(r Request) Request {
	r.Header, r.Answer = maps.Clone(r.Header), http.Header{}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	looked := map[string]bool{}
	for _, route := range u.Routes {
		for _, h := range route.Match.Headers {
			looked[h.Name] = true
		}
		for _, h := range route.Hash {
			looked[strings.ToLower(h.Name)] = true
		}
	}
	for _, route := range u.Routes {
		request, response := route.Request.names(), route.Response.names()
		for _, leg := range route.Legs {
			request, response = append(request, leg.Request.names()...), append(response, leg.Response.names()...)
		}
		for _, name := range request {
			if !looked[name] && r.Header.Get(name) == "" {
				r.Header[http.CanonicalHeaderKey(name)] = []string{"one", "two"}
			}
		}
		for _, name := range response {
			r.Answer[http.CanonicalHeaderKey(name)] = []string{"one", "two"}
		}
	}
	return r
}

func (c Comparison) request(want, plan *Upstream, got Subject, r Request) error {
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
	if g.Route < 0 {
		return nil
	}
	return errors.Join(checkDraws(plan, g, r, got), checkCalls(plan, g, r, got))
}
