package route

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"

	"github.com/innermesh/innermesh/policy"
)

// Table holds the routes of one service. It is immutable.
type Table struct {
	routes []*Route // the last one fits all
}

// Route is one way for calls to take.
type Route struct {
	// Name is how people are told of the route; empty for that of a service
	// without routes.
	Name string
	// Number is its place in the table.
	Number int
	// Policy is what is in force for the calls that take it.
	Policy policy.Effective
	// Injector makes trouble for the route's calls; nil makes none.
	Injector *Injector
	// Stick is what decides which leg a call falls to; nothing is chance.
	Stick Hash
	// Mirrors are where copies of the calls go; mostly there are none.
	Mirrors []*Mirror
	// Legs are the shares, at least one.
	Legs []*Leg
	// Request and Response are how headers change, after the leg's own.
	Request, Response Headers

	match   match
	rewrite rewrite
	whole   uint32 // all weights together
}

// Leg is one share of a route's calls.
type Leg struct {
	// Number is its place in the route.
	Number int
	// Weight is the share in hundredths of a percent.
	Weight int
	// Targets are where its calls go: the first, then those to fail over to.
	Targets []Target
	// Split says that the route has other legs.
	Split bool
	// Hash is what finds the instance of a call, where the balancer goes by it.
	Hash Hash
	// Key and RateKey are what the limits of the first target tell calls apart by.
	Key, RateKey Key
	// Request and Response are how headers change.
	Request, Response Headers
}

// Target is a set of instances, fully named, and what is in force for them.
type Target struct {
	policy.Target
	Policy policy.Effective
}

// Compile makes the table of a service. The policy must be valid by itself; the
// error is about what becomes invalid when a route is laid over it.
func Compile(service string, p policy.Effective) (*Table, error) {
	t := new(Table)
	var faults []error
	for i, r := range p.Routes {
		compiled, err := compile(service, p, i, r)
		faults = append(faults, err)
		t.routes = append(t.routes, compiled)
	}
	if n := len(t.routes); n == 0 || !t.routes[n-1].match.all() {
		t.routes = append(t.routes, rest(service, p, n))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return t, nil
}

// rest is the route of calls that no other fits: to the service itself.
func rest(service string, p policy.Effective, number int) *Route {
	r := &Route{Number: number, Policy: p, Injector: newInjector(p.Inject), whole: whole}
	if number > 0 {
		r.Name = "default"
	}
	leg := &Leg{Weight: whole, Targets: []Target{{Target: policy.Target{Service: service}, Policy: p}}}
	leg.keys()
	r.Legs = []*Leg{leg}
	r.mirror(service, p)
	return r
}

// whole is all of a route's calls, in hundredths of a percent.
const whole = 100_00

func compile(service string, p policy.Effective, number int, r policy.Route) (*Route, error) {
	out := &Route{
		Name: cmp.Or(r.Name, strconv.Itoa(number)), Number: number, Policy: p.ForRoute(number),
		Request: newHeaders(r.RequestHeaders), Response: newHeaders(r.ResponseHeaders),
	}
	out.Injector = newInjector(out.Policy.Inject)
	out.Stick = NewHash(out.Policy.Stick)
	faults := []error{out.Policy.Validate()}
	var err error
	if out.match, err = newMatch(r.Match); err != nil {
		faults = append(faults, fmt.Errorf("routes[%d].match: %w", number, err))
	}
	out.rewrite = newRewrite(r)
	legs := r.To
	if len(legs) == 0 {
		legs = []policy.Leg{{}}
	}
	for i, l := range legs {
		path := fmt.Sprintf("routes[%d].to[%d]", number, i)
		leg := &Leg{
			Number: i, Weight: l.Hundredths(), Split: len(legs) > 1,
			Request: newHeaders(l.RequestHeaders), Response: newHeaders(l.ResponseHeaders),
		}
		leg.Targets = append(leg.Targets, resolve(service, p, path, l.Target))
		for j, f := range l.Failover {
			f.Balancer, f.Connect = l.Balancer, l.Connect // as sidecars do: the first target's
			leg.Targets = append(leg.Targets, resolve(cmp.Or(l.Service, service), p, fmt.Sprintf("%s.failover[%d]", path, j), f))
		}
		leg.keys()
		for _, t := range leg.Targets {
			faults = append(faults, t.Policy.Validate())
		}
		out.whole += uint32(leg.Weight) // at most 100 legs of 10000 each
		out.Legs = append(out.Legs, leg)
	}
	if out.whole == 0 {
		faults = append(faults, fmt.Errorf("routes[%d].to: no leg has a weight", number))
	}
	out.mirror(service, p)
	return out, errors.Join(faults...)
}

// keys takes over what limits and the balancer of the leg's instances go by.
func (l *Leg) keys() {
	limits := l.Targets[0].Policy.Limits
	l.Key, l.RateKey = NewKey(limits.Bulkhead.By), NewKey(limits.Rate.By)
	if b := l.Targets[0].Policy.Balancer; b.Policy == policy.RingHash || b.Policy == policy.Maglev {
		l.Hash = NewHash(b.Hash)
	}
}

// resolve names a target in full.
func resolve(service string, p policy.Effective, path string, t policy.Target) Target {
	out := Target{Target: t, Policy: p.ForTarget(path, t)}
	out.Service, out.Failover = cmp.Or(t.Service, service), nil
	if s, ok := p.Subsets[t.Subset]; ok && t.Service == "" && t.Filter == "" {
		out.Filter, out.OnlyPassing = s.Filter, s.OnlyPassing
	}
	return out
}

// Whole is the sum of the legs' weights.
func (r *Route) Whole() int { return int(r.whole) }

// Routes returns all routes in the order they are tried. Read only.
func (t *Table) Routes() []*Route { return t.routes }

// Plain says that all calls take the one route, so that nobody needs to look at
// them.
func (t *Table) Plain() bool { return len(t.routes) == 1 }

// Match returns the first route that fits the request; there always is one.
func (t *Table) Match(r Request) *Route {
	last := len(t.routes) - 1
	if last == 0 {
		return t.routes[0] // and nobody looks at the request
	}
	method, path := r.Line()
	for _, route := range t.routes[:last] {
		if route.match.fits(r, method, path) {
			return route
		}
	}
	return t.routes[last]
}

// Pick returns the leg for a number that was drawn at random, or hashed.
func (r *Route) Pick(drawn uint32) *Leg {
	if len(r.Legs) == 1 {
		return r.Legs[0]
	}
	// Lemire's way to bring a number into a range without a division; the bias
	// is below one in 400,000.
	at := int(uint64(drawn) * uint64(r.whole) >> 32)
	for _, l := range r.Legs {
		if at -= l.Weight; at < 0 {
			return l
		}
	}
	return r.Legs[len(r.Legs)-1]
}
