package parity

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/priority/previous_priorities/v3" // named by retry policies
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

const wholeWeight = 10000

func (r *resources) route(u *Upstream, in *routev3.Route, idle Duration) (Route, error) {
	a := in.GetRoute()
	if a == nil {
		return Route{}, errors.New("it leads to no cluster")
	}
	errs := []error{
		only(in, "match", "route", "request_headers_to_add", "request_headers_to_remove",
			"response_headers_to_add", "response_headers_to_remove"),
		only(a, "cluster", "weighted_clusters", "prefix_rewrite", "regex_rewrite", "timeout", "idle_timeout",
			"retry_policy", "hash_policy"),
	}
	out := Route{
		Timeout:     duration(a.GetTimeout(), 15*time.Second),
		IdleTimeout: duration(a.GetIdleTimeout(), time.Duration(idle)),
	}
	var err error
	out.Match, err = match(in.GetMatch())
	errs = append(errs, err)
	out.Request, err = headerMods(in.GetRequestHeadersToAdd(), in.GetRequestHeadersToRemove())
	errs = append(errs, err)
	out.Response, err = headerMods(in.GetResponseHeadersToAdd(), in.GetResponseHeadersToRemove())
	errs = append(errs, err)
	out.Retry, err = retryPolicy(a.GetRetryPolicy())
	errs = append(errs, err)
	for _, h := range a.GetHashPolicy() {
		hash, err := hashPolicy(h)
		errs = append(errs, err)
		out.Hash = append(out.Hash, hash)
	}
	out.Rewrite, err = rewrite(a, out.Match.Path)
	errs = append(errs, err)
	out.Legs, err = r.legs(u, a)
	return out, errors.Join(append(errs, err)...)
}

// rewrite knows one expression: "^prefix(/?)(.*)", which becomes "/\\2", is how
// Consul writes that a prefix becomes "/". Without a prefix it changes nothing.
func rewrite(a *routev3.RouteAction, path PathMatch) (string, error) {
	re := a.GetRegexRewrite()
	if re == nil {
		return a.GetPrefixRewrite(), nil
	}
	var prefix, anycase string
	if path.Kind == Prefix {
		prefix = regexp.QuoteMeta(path.Value)
	}
	if path.IgnoreCase {
		anycase = "(?i)"
	}
	if got := re.GetPattern().GetRegex(); got != anycase+"^"+prefix+"(/?)(.*)" || re.GetSubstitution() != `/\2` {
		return "", fmt.Errorf("rewrite of %q to %q: not known", got, re.GetSubstitution())
	}
	if prefix == "" {
		return "", nil
	}
	return "/", nil
}

func (r *resources) legs(u *Upstream, a *routev3.RouteAction) (legs []Leg, err error) {
	if name := a.GetCluster(); name != "" {
		id, err := r.target(u, name)
		return []Leg{{Target: id, Weight: wholeWeight}}, err
	}
	errs := []error{only(a.GetWeightedClusters(), "clusters", "total_weight")}
	for _, w := range a.GetWeightedClusters().GetClusters() {
		errs = append(errs, only(w, "name", "weight", "request_headers_to_add", "request_headers_to_remove",
			"response_headers_to_add", "response_headers_to_remove"))
		leg := Leg{Weight: w.GetWeight().GetValue()}
		leg.Target, err = r.target(u, w.GetName())
		errs = append(errs, err)
		leg.Request, err = headerMods(w.GetRequestHeadersToAdd(), w.GetRequestHeadersToRemove())
		errs = append(errs, err)
		leg.Response, err = headerMods(w.GetResponseHeadersToAdd(), w.GetResponseHeadersToRemove())
		errs = append(errs, err)
		legs = append(legs, leg)
	}
	return legs, errors.Join(errs...)
}

func match(m *routev3.RouteMatch) (Match, error) {
	out := Match{Path: PathMatch{IgnoreCase: m.GetCaseSensitive() != nil && !m.GetCaseSensitive().GetValue()}}
	errs := []error{only(m, "prefix", "path", "safe_regex", "case_sensitive", "headers", "query_parameters")}
	switch p := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		out.Path.Kind, out.Path.Value = Prefix, p.Prefix
	case *routev3.RouteMatch_Path:
		out.Path.Kind, out.Path.Value = Exact, p.Path
	case *routev3.RouteMatch_SafeRegex:
		out.Path.Kind, out.Path.Value = Regex, p.SafeRegex.GetRegex()
	}
	for _, h := range m.GetHeaders() {
		errs = append(errs, only(h, "name", "string_match", "present_match", "invert_match"))
		v, err := valueMatch(h.GetName(), h.GetStringMatch(), h.GetPresentMatch())
		v.Name, v.Invert = strings.ToLower(v.Name), h.GetInvertMatch()
		errs = append(errs, err)
		// The one thing that Consul says as a header and we do not.
		if v.Name == ":method" && v.Kind == Regex && !v.Invert && out.Methods == nil {
			out.Methods = strings.Split(v.Value, "|")
			continue
		}
		out.Headers = append(out.Headers, v)
	}
	for _, q := range m.GetQueryParameters() {
		errs = append(errs, only(q, "name", "string_match", "present_match"))
		v, err := valueMatch(q.GetName(), q.GetStringMatch(), q.GetPresentMatch())
		errs = append(errs, err)
		out.Query = append(out.Query, v)
	}
	return out, errors.Join(errs...)
}

func valueMatch(name string, s *matcherv3.StringMatcher, present bool) (ValueMatch, error) {
	v := ValueMatch{Name: name, IgnoreCase: s.GetIgnoreCase()}
	switch p := s.GetMatchPattern().(type) {
	case nil:
		v.Kind = Present
		if !present {
			return v, fmt.Errorf("%s: no condition", name)
		}
	case *matcherv3.StringMatcher_Exact:
		v.Kind, v.Value = Exact, p.Exact
	case *matcherv3.StringMatcher_Prefix:
		v.Kind, v.Value = Prefix, p.Prefix
	case *matcherv3.StringMatcher_Suffix:
		v.Kind, v.Value = Suffix, p.Suffix
	case *matcherv3.StringMatcher_Contains:
		v.Kind, v.Value = Contains, p.Contains
	case *matcherv3.StringMatcher_SafeRegex:
		v.Kind, v.Value = Regex, p.SafeRegex.GetRegex()
	default:
		return v, fmt.Errorf("%s: condition %T: not known", name, p)
	}
	return v, nil
}

func headerMods(add []*corev3.HeaderValueOption, remove []string) (HeaderMods, error) {
	var m HeaderMods
	var errs []error
	put := func(to *map[string]string, name, value string) {
		if *to == nil {
			*to = map[string]string{}
		}
		if _, twice := (*to)[name]; twice {
			errs = append(errs, fmt.Errorf("header %s: twice", name))
		}
		(*to)[name] = value
	}
	for _, h := range add {
		errs = append(errs, only(h, "header", "append_action"), only(h.GetHeader(), "key", "value"))
		name, value := strings.ToLower(h.GetHeader().GetKey()), h.GetHeader().GetValue()
		switch h.GetAppendAction() {
		case corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD:
			put(&m.Add, name, value)
		case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD:
			put(&m.Set, name, value)
		default:
			errs = append(errs, fmt.Errorf("header %s: %s: not known", name, h.GetAppendAction()))
		}
	}
	for _, name := range remove {
		m.Remove = append(m.Remove, strings.ToLower(name))
	}
	slices.Sort(m.Remove)
	return m, errors.Join(errs...)
}

func retryPolicy(p *routev3.RetryPolicy) (*Retry, error) {
	if p == nil {
		return nil, nil //nolint:nilnil // no policy is an answer
	}
	out := &Retry{
		On:       []string{},
		Num:      or32(p.GetNumRetries(), 1),
		Statuses: slices.Sorted(slices.Values(p.GetRetriableStatusCodes())),
		PerTry:   duration(p.GetPerTryTimeout(), 0),
	}
	for on := range strings.SplitSeq(p.GetRetryOn(), ",") {
		if on != "" {
			out.On = append(out.On, on)
		}
	}
	slices.Sort(out.On)
	err := only(p, "retry_on", "num_retries", "retriable_status_codes", "retry_priority")
	if priority := p.GetRetryPriority(); priority != nil {
		out.NextLevel = true
		if priority.GetName() != "envoy.retry_priorities.previous_priorities" {
			err = errors.Join(err, fmt.Errorf("retry priority %s: not known", priority.GetName()))
		}
	}
	return out, err
}

func hashPolicy(p *routev3.RouteAction_HashPolicy) (Hash, error) {
	h := Hash{Terminal: p.GetTerminal()}
	switch s := p.GetPolicySpecifier().(type) {
	case *routev3.RouteAction_HashPolicy_Header_:
		h.By, h.Name = "header", strings.ToLower(s.Header.GetHeaderName())
		return h, only(s.Header, "header_name")
	case *routev3.RouteAction_HashPolicy_Cookie_:
		h.By, h.Name, h.Path = "cookie", s.Cookie.GetName(), s.Cookie.GetPath()
		h.Generate, h.TTL = s.Cookie.GetTtl() != nil, duration(s.Cookie.GetTtl(), 0)
		return h, only(s.Cookie, "name", "ttl", "path")
	case *routev3.RouteAction_HashPolicy_QueryParameter_:
		h.By, h.Name = "query_parameter", s.QueryParameter.GetName()
		return h, only(s.QueryParameter, "name")
	case *routev3.RouteAction_HashPolicy_ConnectionProperties_:
		h.By = "source_ip"
		if !s.ConnectionProperties.GetSourceIp() {
			return h, errors.New("hash of a connection without its source")
		}
		return h, only(s.ConnectionProperties, "source_ip")
	default:
		return h, fmt.Errorf("hash policy %T: not known", s)
	}
}
