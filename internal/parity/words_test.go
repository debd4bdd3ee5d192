package parity_test

import (
	"slices"
	"strings"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/parity"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/tlsutil"
)

// Upstream implements [parity.Subject].
func (s *subject) Upstream() *parity.Upstream {
	u := &parity.Upstream{Service: s.upstream.Service, Protocol: s.protocol(), Clusters: map[string]parity.Cluster{}}
	for _, r := range s.plan.Routes {
		for _, to := range r.Destinations {
			u.Clusters[s.key(to.Clusters()[0])] = s.cluster(to)
		}
		u.Routes = append(u.Routes, s.route(r))
	}
	if u.Protocol == "tcp" {
		u.TCP, u.Routes = u.Routes[0].Legs[0].Target, nil
	}
	return u
}

// protocol is "tcp" if nobody says anything about HTTP: then it is not for us to
// know what the calls are.
func (s *subject) protocol() string {
	switch {
	case s.plan.Policy.Origin("http.protocol") == builtIn:
		return "tcp"
	case s.plan.Policy.HTTP.Protocol == policy.HTTP2:
		return "http2"
	default:
		return "http"
	}
}

func (s *subject) route(r *upstream.Route) parity.Route {
	effective := r.Route.Policy
	var said policy.Route
	if r.Number < len(s.plan.Policy.Routes) {
		said = s.plan.Policy.Routes[r.Number]
	}
	out := parity.Route{
		Match: match(said.Match), Rewrite: said.Rewrite.Prefix,
		Request: headers(said.RequestHeaders), Response: headers(said.ResponseHeaders),
		Timeout: parity.Duration(r.Total), IdleTimeout: limited(effective.Timeout.Idle),
		Retry: retrying(r),
	}
	for i, to := range r.Destinations {
		leg := parity.Leg{Target: s.key(to.Clusters()[0]), Weight: uint32(to.Weight)}
		if i < len(said.To) {
			leg.Request, leg.Response = headers(said.To[i].RequestHeaders), headers(said.To[i].ResponseHeaders)
		}
		if out.Hash == nil && !to.Hash.None() {
			out.Hash = hashes(to.Targets[0].Policy.Balancer.Hash)
		}
		out.Legs = append(out.Legs, leg)
	}
	return out
}

func match(m policy.Match) parity.Match {
	out := parity.Match{Methods: m.Methods, Path: parity.PathMatch{Kind: parity.Prefix, Value: "/"}}
	switch {
	case m.Path != "":
		out.Path = parity.PathMatch{Kind: parity.Exact, Value: m.Path, IgnoreCase: m.IgnoreCase}
	case m.PathPrefix != "":
		out.Path = parity.PathMatch{Kind: parity.Prefix, Value: m.PathPrefix, IgnoreCase: m.IgnoreCase}
	case m.PathRegex != "":
		out.Path = parity.PathMatch{Kind: parity.Regex, Value: m.PathRegex, IgnoreCase: m.IgnoreCase}
	}
	for _, h := range m.Headers {
		v := parity.ValueMatch{Name: strings.ToLower(h.Name), Invert: h.Invert, IgnoreCase: h.IgnoreCase}
		v.Kind, v.Value = kind(h.Present, map[string]string{
			parity.Exact: h.Exact, parity.Prefix: h.Prefix, parity.Suffix: h.Suffix, parity.Contains: h.Contains, parity.Regex: h.Regex,
		})
		out.Headers = append(out.Headers, v)
	}
	for _, q := range m.Query {
		v := parity.ValueMatch{Name: q.Name}
		v.Kind, v.Value = kind(q.Present, map[string]string{parity.Exact: q.Exact, parity.Regex: q.Regex})
		out.Query = append(out.Query, v)
	}
	return out
}

// kind finds the one that is said.
func kind(present bool, values map[string]string) (kind, value string) {
	for kind, value := range values {
		if value != "" {
			return kind, value
		}
	}
	if present {
		return parity.Present, ""
	}
	return "", ""
}

func headers(h policy.Headers) parity.HeaderMods {
	lower := func(values map[string]string) map[string]string {
		out := map[string]string{}
		for name, value := range values {
			out[strings.ToLower(name)] = value
		}
		return out
	}
	out := parity.HeaderMods{Set: lower(h.Set), Add: lower(h.Add)}
	for _, name := range h.Remove {
		out.Remove = append(out.Remove, strings.ToLower(name))
	}
	slices.Sort(out.Remove)
	return out
}

// retrying is nil if nothing is tried again.
func retrying(r *upstream.Route) *parity.Retry {
	said := r.Route.Policy.Retry
	if said.Attempts == 1 {
		return nil
	}
	out := &parity.Retry{On: slices.Clone(said.On), Num: uint32(said.Attempts - 1), PerTry: parity.Duration(r.PerTry)}
	for _, status := range said.Statuses {
		out.Statuses = append(out.Statuses, uint32(status))
	}
	if len(out.Statuses) > 0 {
		out.On = append(out.On, "retriable-status-codes")
	}
	slices.Sort(out.On)
	slices.Sort(out.Statuses)
	out.NextLevel = slices.ContainsFunc(r.Destinations, func(to *upstream.Destination) bool {
		return to.Split && len(to.Clusters()) > 1
	})
	return out
}

func hashes(list []policy.Hash) (out []parity.Hash) {
	for _, h := range list {
		x := parity.Hash{By: "source_ip", Terminal: h.Terminal}
		switch {
		case h.Header != "":
			x.By, x.Name = "header", strings.ToLower(h.Header)
		case h.Query != "":
			x.By, x.Name = "query_parameter", h.Query
		case h.Cookie != "":
			x.By, x.Name = "cookie", h.Cookie
			x.Generate, x.TTL, x.Path = h.CookieTTL != 0, limited(h.CookieTTL), h.CookiePath
		}
		out = append(out, x)
	}
	return out
}

// limited has 0 for what is off.
func limited(d policy.Duration) parity.Duration { return parity.Duration(max(d, 0)) }

func (s *subject) cluster(to *upstream.Destination) (c parity.Cluster) {
	for _, tier := range to.Clusters() {
		c.Levels = append(c.Levels, s.level(tier))
	}
	return c
}

// level is what a cluster goes by and whom it knows.
func (s *subject) level(c *cluster.Cluster) parity.Level {
	p := c.View().Policy
	l := parity.Level{
		Target: s.key(c), HTTP2: p.HTTP.Protocol == policy.HTTP2, ConnectTimeout: parity.Duration(p.Timeout.Connect),
		Balancer: balancing(p.Balancer), Known: c.IsReady(), TLS: s.tls(c.Target),
		Ejection: parity.Ejection{
			Consecutive5xx: uint32(max(p.Ejection.Failures, 0)), Enforcing: uint32(max(p.Ejection.Enforced, 0)),
			Interval: parity.Duration(p.Ejection.Interval), BaseTime: limited(p.Ejection.Base), MaxPercent: uint32(max(p.Ejection.MaxPercent, 0)),
		},
		Limits: parity.Limits{
			Connections: bound(p.Limits.Connections), Pending: bound(p.Limits.Pending), Requests: bound(p.Limits.Concurrency),
			Retries: parity.Unlimited,
		},
	}
	callable := map[string]bool{}
	for _, m := range c.View().Members() {
		callable[m.ID] = true
	}
	for _, i := range c.Status().Instances {
		l.Endpoints = append(l.Endpoints, endpoint(i.Instance, callable[i.Instance.ID]))
	}
	slices.SortFunc(l.Endpoints, func(a, b parity.Endpoint) int { return strings.Compare(a.Address, b.Address) })
	return l
}

func endpoint(i discovery.Instance, healthy bool) parity.Endpoint {
	return parity.Endpoint{Address: i.Address, Weight: uint32(i.Weight), Healthy: healthy}
}

func balancing(b policy.Balancer) parity.Balancer {
	out := parity.Balancer{Policy: b.Policy}
	switch b.Policy {
	case policy.LeastRequest:
		out.Choices = uint32(b.Choices)
	case policy.RingHash:
		out.MinRing, out.MaxRing = uint64(b.RingSize), uint64(b.MaxRingSize)
	case policy.Maglev:
		out.Table = 65537 // that of package balancer for up to a thousand instances
	}
	return out
}

func bound(l policy.Limit) uint32 {
	if n, ok := l.Bound(); ok {
		return uint32(n)
	}
	return parity.Unlimited
}

// tls is whom calls to the target expect: its service, where it is.
func (s *subject) tls(t policy.Target) parity.TLS {
	id, err := tlsutil.ServiceID{
		TrustDomain: s.place.trustDomain, Datacenter: s.datacenter(t), Service: t.Service,
	}.ID()
	if err != nil {
		return parity.TLS{SNI: t.SNI, SANs: []string{err.Error()}}
	}
	return parity.TLS{SNI: t.SNI, SANs: []string{id.String()}}
}

func (s *subject) datacenter(t policy.Target) string {
	if t.Datacenter != "" {
		return t.Datacenter
	}
	return s.place.datacenter
}

func (s *subject) key(c *cluster.Cluster) string {
	return parity.Key(c.Target.Subset, c.Target.Service, s.datacenter(c.Target))
}
