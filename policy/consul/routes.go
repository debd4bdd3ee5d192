package consul

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/innermesh/innermesh/policy"
)

// routes are those of a router, in its order.
func (k *compiler) routes(n *node, path string) []policy.Route {
	names := make(map[string]bool)
	var all []policy.Route
	for i, r := range n.Routes {
		at := element(path+".Routes", i)
		if r == nil || r.Definition == nil {
			k.addf(at+".Definition", "is missing")
			continue
		}
		out := policy.Route{To: k.legs(r.NextNode, at+".NextNode")}
		if m := r.Definition.Match; m != nil && m.HTTP != nil {
			out.Match = m.HTTP.policy()
		}
		if d := r.Definition.Destination; d != nil {
			d.apply(&out)
		}
		if out.Match.PathPrefix == "/" && out.Rewrite.Prefix == "" {
			out.Match.PathPrefix, out.Match.IgnoreCase = "", false // every path begins so
		}
		out.Name = distinct(nameOf(out.Match), names)
		all = append(all, out)
	}
	return all
}

func (d *destination) apply(r *policy.Route) {
	r.Rewrite.Prefix = d.PrefixRewrite // empty is none; Consul 1.22.1 to 1.22.5 would cut the prefix off
	r.RequestHeaders, r.ResponseHeaders = d.RequestHeaders.policy(), d.ResponseHeaders.policy()
	if d.RequestTimeout != 0 {
		r.Timeout = total(d.RequestTimeout)
	}
	r.Timeout.Idle = limited(d.IdleTimeout)
	r.Retry = d.retry()
}

// retry says all that a route with retries says: its lists replace what lower
// layers list, also where they are empty. NumRetries alone names no condition, so
// nothing is retried.
func (d *destination) retry() policy.Retry {
	if d.NumRetries == 0 && !d.RetryOnConnectFailure && len(d.RetryOn) == 0 && len(d.RetryOnStatusCodes) == 0 {
		return policy.Retry{}
	}
	r := policy.Retry{Attempts: 2, On: []string{}, Statuses: []int{}} // Envoy's number of retries is 1
	if d.NumRetries > 0 {
		r.Attempts = int(d.NumRetries) + 1
	}
	r.On = append(r.On, d.RetryOn...)
	if d.RetryOnConnectFailure && !slices.Contains(r.On, policy.OnConnectFailure) {
		r.On = append(r.On, policy.OnConnectFailure)
	}
	for _, code := range d.RetryOnStatusCodes {
		r.Statuses = append(r.Statuses, int(code))
	}
	return r
}

func (m *httpMatch) policy() policy.Match {
	out := policy.Match{
		Path: m.PathExact, PathPrefix: m.PathPrefix, PathRegex: m.PathRegex,
		IgnoreCase: m.CaseInsensitive,
	}
	for _, method := range m.Methods {
		out.Methods = append(out.Methods, strings.ToUpper(method))
	}
	for _, h := range m.Header {
		out.Headers = append(out.Headers, policy.HeaderMatch{
			Name: h.Name, Exact: h.Exact, Prefix: h.Prefix, Suffix: h.Suffix, Contains: h.Contains, Regex: h.Regex,
			Present: h.Present, IgnoreCase: h.IgnoreCase, Invert: h.Invert,
		})
	}
	for _, q := range m.QueryParam {
		out.Query = append(out.Query, policy.QueryMatch{Name: q.Name, Exact: q.Exact, Regex: q.Regex, Present: q.Present})
	}
	return out
}

// nameOf calls a route by what it looks for first, so that it keeps its name when
// another is put before it.
func nameOf(m policy.Match) string {
	var name string
	switch {
	case m.Path != "":
		name = m.Path
	case m.PathPrefix != "":
		name = m.PathPrefix + "*"
	case m.PathRegex != "":
		name = "~" + m.PathRegex
	case len(m.Headers) > 0:
		name = "header " + m.Headers[0].Name
	case len(m.Query) > 0:
		name = "query " + m.Query[0].Name
	case len(m.Methods) > 0:
		name = strings.Join(m.Methods, ",")
	default:
		name = wholeName
	}
	const most = 48
	if utf8.RuneCountInString(name) > most {
		name = string([]rune(name)[:most]) + "…"
	}
	return name
}

// distinct adds a number to a name that is taken.
func distinct(name string, taken map[string]bool) string {
	free := name
	for i := 2; taken[free]; i++ {
		free = fmt.Sprintf("%s (%d)", name, i)
	}
	taken[free] = true
	return free
}
