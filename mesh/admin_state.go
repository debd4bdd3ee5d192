package mesh

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/internal/admin"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

// adminTotals tells what was counted so far of the calls to each upstream.
func (m *Mesh) adminTotals() []admin.Totals {
	all := m.directory.All()
	totals := make([]admin.Totals, len(all))
	for i, u := range all {
		t := u.Signals.Totals()
		totals[i] = admin.Totals{Service: u.Service, Calls: t.Calls, Failed: t.Failed, Took: t.Took}
	}
	return totals
}

// adminSummaries tells of each upstream in a line.
func (m *Mesh) adminSummaries() []admin.Summary {
	ups := m.directory.All()
	all := make([]admin.Summary, len(ups))
	for i, u := range ups {
		all[i] = summary(u)
	}
	return all
}

func summary(u *upstream.Upstream) admin.Summary {
	s := admin.Summary{Service: u.Service, Retries: u.Retries(), Exhausted: exhausted(u)}
	now := mono.Now()
	for i, c := range u.Clusters() {
		if err := c.View().Error(); i == 0 && err != nil {
			s.Error = err.Error()
		}
		t := c.Tally(now)
		n := &s.Census
		called := t.Callable + t.Critical + t.Ejected + t.Open
		n.All, n.Called, n.Open = n.All+called+t.Unused, n.Called+called, n.Open+t.Callable
		n.Tripped += t.Breakers[breaker.Open] + t.Breakers[breaker.HalfOpen]
		n.Ejected, n.Critical = n.Ejected+t.Ejected, n.Critical+t.Critical
	}
	s.Census.Inflight = u.Inflight()
	return s
}

// exhausted says whether a budget of retries is spent.
func exhausted(u *upstream.Upstream) bool {
	plan := u.Plan()
	if plan == nil {
		return false
	}
	left, bounded := plan.Budget(mono.Now())
	return bounded && left < 1
}

// adminUpstream tells everything about one.
func (m *Mesh) adminUpstream(service string) (admin.Upstream, bool) {
	u := m.directory.Known(service)
	if u == nil {
		return admin.Upstream{}, false
	}
	a := admin.Upstream{Summary: summary(u), Routes: []admin.Route{}, Targets: []admin.Target{}}
	if plan := u.Plan(); plan != nil {
		for _, r := range plan.Routes {
			a.Routes = append(a.Routes, adminRoute(r))
		}
	}
	for _, c := range u.Clusters() {
		a.Targets = append(a.Targets, adminTarget(c))
	}
	config := m.adminConfig()
	about := func(d admin.Document) bool { return d.Service == "" || d.Service == service }
	for _, d := range config.Applied {
		if about(d) {
			a.Applied = append(a.Applied, d)
		}
	}
	for _, r := range config.Refused {
		if about(r.Document) {
			a.Refused = append(a.Refused, r)
		}
	}
	a.Events, a.More = troubles(u)
	slices.Reverse(a.Events)
	a.Events = a.Events[:min(len(a.Events), 20)]
	return a, true
}

func adminRoute(r *upstream.Route) admin.Route {
	b := r.Policy.Retry.Budget
	now := mono.Now()
	a := admin.Route{
		Name: r.Name, Terms: adminTerms(said(r.Policy, true)),
		Budget: admin.Budget{Unlimited: b.Ratio < 0, Ratio: b.Ratio, Floor: b.Floor, Left: math.Floor(r.Budget.Left(now))},
	}
	if r.Hedge != nil {
		a.Hedge = admin.Span(max(r.Hedge.After(now), 0))
	}
	for _, d := range r.Destinations {
		leg := admin.Leg{Share: float64(d.Weight) / float64(r.Whole())}
		shares := d.Shares(now)
		for i, c := range d.Clusters() {
			leg.Targets = append(leg.Targets, admin.TargetShare{Target: c.Target.String(), Share: shares[i]})
		}
		a.Legs = append(a.Legs, leg)
	}
	return a
}

func adminTarget(c *cluster.Cluster) admin.Target {
	t := admin.Target{
		Name: c.Target.String(), Instances: []admin.Instance{}, Limits: []admin.Limit{},
		Terms: adminTerms(said(c.View().Policy, false)),
	}
	if err := c.View().Error(); err != nil {
		t.Error = err.Error()
	}
	now := time.Now()
	for _, i := range c.Inspect() {
		t.Instances = append(t.Instances, adminInstance(&i, now, c.Target.OnlyPassing))
	}
	for _, b := range c.Bounds() {
		l := admin.Limit{Kind: b.Name, Most: float64(b.Max), Now: b.Used, Waiting: max(b.Queued, 0), PerSecond: b.PerSecond}
		switch {
		case b.Measuring:
			l.Note = "measures how long answers take without load"
		case b.Unloaded > 0:
			l.Note = fmt.Sprintf("answers take %v without load", b.Unloaded.Round(10*time.Microsecond))
		}
		t.Limits = append(t.Limits, l)
	}
	return t
}

func adminTerms(all []policy.Said) []admin.Term {
	terms := make([]admin.Term, 0, len(all))
	for _, s := range all {
		terms = append(terms, admin.Term{Path: s.Path, Value: s.Value, Origin: s.Origin})
	}
	return terms
}

// adminConfig tells what this process goes by.
func (m *Mesh) adminConfig() admin.Config {
	c := admin.Config{Layers: []string{"built in", "Options.Defaults"}, Applied: []admin.Document{}, Refused: []admin.Refusal{}}
	for _, s := range m.policies.sources {
		c.Layers = append(c.Layers, s.name())
	}
	c.Layers = append(c.Layers, "Options.Pinned")
	applied, refused := m.policies.books()
	for _, a := range applied {
		c.Applied = append(c.Applied, admin.Document{Name: a.what, Service: a.service, Index: a.index, At: a.at, Empty: !a.found})
	}
	for _, r := range refused {
		c.Refused = append(c.Refused, adminRefusal(r))
	}
	return c
}

func adminRefusal(r Refusal) admin.Refusal {
	return admin.Refusal{
		Document: admin.Document{Name: r.Document, Service: r.service, Index: r.Index, At: r.At},
		Reason:   strings.TrimSpace(r.Err.Error()),
	}
}
