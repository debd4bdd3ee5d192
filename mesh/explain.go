package mesh

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/httpadapter"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

// Explanation says what would become of a request that is sent now: where it
// would go, on which terms, and who said so. String makes readable text of it.
type Explanation struct {
	// Service is the logical name that the request calls.
	Service string
	// Method and Path are what would be sent; the route may have changed the
	// path.
	Method, Path string
	// Route is the name of the route that the request takes, empty for a
	// service without routes.
	Route string
	// Terms are the timeouts and the retries of the route.
	Terms []policy.Said
	// Legs are the shares of the route, one for each of its targets.
	Legs []ExplainedLeg
	// Mirrors are where copies of the route's calls are sent besides.
	Mirrors []ExplainedMirror
	// Refused are changes of the policy that could not be put in force.
	Refused []Refusal
}

// ExplainedLeg is one share of a route.
type ExplainedLeg struct {
	// Share is how much of the route's calls it gets, from 0 to 1.
	Share float64
	// Targets are its own, and those to fail over to in order.
	Targets []ExplainedTarget
}

// ExplainedTarget is a set of instances.
type ExplainedTarget struct {
	// Target names it, as in "stock subset v2".
	Target string
	// Share is how much of the leg's calls it gets as its instances are now,
	// from 0 to 1.
	Share float64
	// Error says why nobody can be called, if so.
	Error error
	// Terms are what is in force for its instances.
	Terms []policy.Said
	// Instances are all that discovery knows, by ID.
	Instances []ExplainedInstance
}

// ExplainedInstance is one instance, and whether it could be picked.
type ExplainedInstance struct {
	Instance discovery.Instance
	// Out says why it is no candidate, empty if it is one.
	Out string
}

// Refusal is a change of the policy that was refused as a whole; what was in
// force before still is.
type Refusal struct {
	// Document is what was changed, as in "consul kv innermesh/defaults".
	Document string
	// Index is Consul's for the change, 0 if it told none.
	Index uint64
	// At is when it was refused.
	At time.Time
	// Err says what is wrong with it.
	Err error

	service string // empty: all
}

// Explain says what would become of a request to a service of the mesh, without
// sending it. A gRPC call is explained as a POST to http://service/package.Service/Method
// with its metadata as headers. It waits for the first word of discovery, within
// ctx; the error is that of a call.
func (m *Mesh) Explain(ctx context.Context, req *http.Request) (Explanation, error) {
	service, facts := httpadapter.Describe(req)
	if service == "" {
		return Explanation{}, fmt.Errorf("explain a request to %q: %w", req.URL.Host, httpadapter.ErrOutside)
	}
	e := Explanation{Service: service}
	e.Method, e.Path = facts.Line()
	fail := func(err error) (Explanation, error) {
		return e, &call.Error{Service: service, Method: e.Method, Reason: call.Rejected, Err: err}
	}
	u, err := m.directory.Get(service)
	if err != nil {
		return fail(err)
	}
	plan, err := u.Ready(ctx)
	if err != nil {
		return fail(err)
	}
	e.Refused = m.policies.refusals(service) // now that all have spoken
	way := plan.Match(facts)
	e.Route, e.Path = way.Name, way.Path(e.Path)
	e.Terms = said(way.Policy, true)
	for _, d := range way.Destinations {
		if err := d.Ready(ctx); err != nil {
			return fail(err)
		}
		known(ctx, d)
		e.Legs = append(e.Legs, explainLeg(way, d))
	}
	for _, m := range way.Mirrors {
		known(ctx, m.To)
		e.Mirrors = append(e.Mirrors, explainMirror(m))
	}
	return e, nil
}

// known waits a moment for all tiers: calls may go by less.
func known(ctx context.Context, d *upstream.Destination) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, c := range d.Clusters() {
		_ = c.Ready(ctx) // its status tells
	}
}

func explainLeg(way *upstream.Route, d *upstream.Destination) ExplainedLeg {
	leg := ExplainedLeg{Share: float64(d.Weight) / float64(way.Whole())}
	shares := d.Shares(mono.Now())
	for i, c := range d.Clusters() {
		leg.Targets = append(leg.Targets, explainTarget(c, shares[i], d.Targets[i].Policy))
	}
	return leg
}

func explainTarget(c *cluster.Cluster, share float64, p policy.Effective) ExplainedTarget {
	s := c.Status()
	t := ExplainedTarget{Target: c.Target.String(), Share: share, Error: s.Error, Terms: said(p, false)}
	for _, i := range s.Instances {
		t.Instances = append(t.Instances, ExplainedInstance{Instance: i.Instance, Out: i.Out})
	}
	return t
}

// ofRoutes are the parts of a policy that are about routes, not instances.
var ofRoutes = []string{"timeout", "retry", "hedge", "inject", "mirror", "stick"}

// said lists what is in force for a route, or for the instances of a target.
func said(p policy.Effective, ofRoute bool) []policy.Said {
	return slices.DeleteFunc(p.Said(), func(s policy.Said) bool {
		top, _, _ := strings.Cut(s.Path, ".")
		if top == "inbound" { // that is the callee's own business
			return true
		}
		isRoute := slices.Contains(ofRoutes, top) && s.Path != "timeout.connect"
		return isRoute != ofRoute
	})
}

// String is the explanation as text, a line for each thing.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s to %s\n", e.Method, e.Path, e.Service)
	if e.Route != "" {
		fmt.Fprintf(&b, "  takes the route %q\n", e.Route)
	}
	writeTerms(&b, "  ", e.Terms)
	for _, l := range e.Legs {
		fmt.Fprintf(&b, "  %s of the calls go to\n", percent(l.Share))
		for i, t := range l.Targets {
			t.write(&b, i > 0, len(l.Targets) > 1)
		}
	}
	for _, m := range e.Mirrors {
		m.write(&b)
	}
	for _, r := range e.Refused {
		fmt.Fprintf(&b, "  refused at %s (index %d): %s: %v\n", r.At.Format(time.TimeOnly), r.Index, r.Document, r.Err)
	}
	return b.String()
}

func (t ExplainedTarget) write(b *strings.Builder, backup, several bool) {
	fmt.Fprintf(b, "    %s", t.Target)
	switch {
	case backup:
		fmt.Fprintf(b, ", to fail over to: %s now", percent(t.Share))
	case several:
		fmt.Fprintf(b, ": %s now", percent(t.Share))
	}
	b.WriteByte('\n')
	if t.Error != nil {
		fmt.Fprintf(b, "      %v\n", t.Error)
	}
	for _, i := range t.Instances {
		fmt.Fprintf(b, "      %-24s %-22s %s\n", i.Instance.ID, i.Instance.Address, cmp.Or(i.Out, "candidate"))
	}
	writeTerms(b, "      ", t.Terms)
}

func writeTerms(b *strings.Builder, indent string, terms []policy.Said) {
	for _, s := range terms {
		fmt.Fprintf(b, "%s%-20s %-10s by %s\n", indent, s.Path, s.Value, s.Origin)
	}
}

func percent(share float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", share*100), "0"), ".") + " %"
}
