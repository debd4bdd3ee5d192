package parity

import (
	"fmt"
	"regexp"
	"strings"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// anyOf and allOf ask all, so that nothing unknown hides behind what is known.
func anyOf[T any](all []T, ask func(T) (bool, error)) (hit bool, err error) {
	for _, one := range all {
		yes, err := ask(one)
		if err != nil {
			return false, err
		}
		hit = hit || yes
	}
	return hit, nil
}

func allOf[T any](all []T, ask func(T) (bool, error)) (bool, error) {
	miss, err := anyOf(all, func(one T) (bool, error) { yes, err := ask(one); return !yes, err })
	return !miss, err
}

func (c *Call) permission(p *rbacv3.Permission) (bool, error) {
	switch r := p.GetRule().(type) {
	case *rbacv3.Permission_Any:
		return r.Any, nil
	case *rbacv3.Permission_AndRules:
		return allOf(r.AndRules.GetRules(), c.permission)
	case *rbacv3.Permission_OrRules:
		return anyOf(r.OrRules.GetRules(), c.permission)
	case *rbacv3.Permission_NotRule:
		yes, err := c.permission(r.NotRule)
		return !yes, err
	case *rbacv3.Permission_UrlPath:
		return text(r.UrlPath.GetPath(), c.Path)
	case *rbacv3.Permission_Header:
		return c.header(r.Header)
	case *rbacv3.Permission_Metadata:
		return c.claim(r.Metadata) //nolint:staticcheck // because sidecars are sent it
	default:
		return false, fmt.Errorf("permission %T: not known", r)
	}
}

func (c *Call) principal(p *rbacv3.Principal) (bool, error) {
	switch r := p.GetIdentifier().(type) {
	case *rbacv3.Principal_Any:
		return r.Any, nil
	case *rbacv3.Principal_AndIds:
		return allOf(r.AndIds.GetIds(), c.principal)
	case *rbacv3.Principal_OrIds:
		return anyOf(r.OrIds.GetIds(), c.principal)
	case *rbacv3.Principal_NotId:
		yes, err := c.principal(r.NotId)
		return !yes, err
	case *rbacv3.Principal_Authenticated_:
		return text(r.Authenticated.GetPrincipalName(), c.Principal)
	case *rbacv3.Principal_Metadata:
		return c.claim(r.Metadata) //nolint:staticcheck // because sidecars are sent it
	default:
		return false, fmt.Errorf("principal %T: not known", r)
	}
}

func (c *Call) header(m *routev3.HeaderMatcher) (bool, error) {
	value, there := c.Header[strings.ToLower(m.GetName())]
	if m.GetName() == ":method" {
		value, there = c.Method, true
	}
	var yes bool
	var err error
	switch s := m.GetHeaderMatchSpecifier().(type) {
	case *routev3.HeaderMatcher_PresentMatch:
		return (there == s.PresentMatch) != m.GetInvertMatch(), nil
	case *routev3.HeaderMatcher_StringMatch:
		yes, err = text(s.StringMatch, value)
	case *routev3.HeaderMatcher_SafeRegexMatch:
		yes, err = entirely(s.SafeRegexMatch.GetRegex(), value) //nolint:staticcheck // because sidecars are sent it
	case *routev3.HeaderMatcher_ExactMatch:
		yes = value == s.ExactMatch //nolint:staticcheck // because sidecars are sent it
	case *routev3.HeaderMatcher_PrefixMatch:
		yes = strings.HasPrefix(value, s.PrefixMatch) //nolint:staticcheck // because sidecars are sent it
	case *routev3.HeaderMatcher_SuffixMatch:
		yes = strings.HasSuffix(value, s.SuffixMatch) //nolint:staticcheck // because sidecars are sent it
	case *routev3.HeaderMatcher_ContainsMatch:
		yes = strings.Contains(value, s.ContainsMatch) //nolint:staticcheck // because sidecars are sent it
	default:
		return false, fmt.Errorf("header %s: %T: not known", m.GetName(), s)
	}
	return there && yes != m.GetInvertMatch(), err // what is not there fits nothing, inverted or not
}

func (c *Call) claim(m *matcherv3.MetadataMatcher) (bool, error) {
	if m.GetFilter() != "envoy.filters.http.jwt_authn" || m.GetInvert() || len(m.GetPath()) < 2 {
		return false, fmt.Errorf("metadata %v: not known", m)
	}
	provider, ok := strings.CutPrefix(m.GetPath()[0].GetKey(), "jwt_payload_")
	if !ok {
		return false, fmt.Errorf("metadata %v: not known", m)
	}
	var at any = c.Tokens[provider]
	for _, step := range m.GetPath()[1:] {
		inner, _ := at.(map[string]any)
		at = inner[step.GetKey()]
	}
	value, isText := at.(string)
	if !isText {
		return false, nil
	}
	return text(m.GetValue().GetStringMatch(), value)
}

func text(m *matcherv3.StringMatcher, value string) (bool, error) {
	fold := func(s string) string {
		if m.GetIgnoreCase() {
			return strings.ToLower(s)
		}
		return s
	}
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return fold(value) == fold(p.Exact), nil
	case *matcherv3.StringMatcher_Prefix:
		return strings.HasPrefix(fold(value), fold(p.Prefix)), nil
	case *matcherv3.StringMatcher_Suffix:
		return strings.HasSuffix(fold(value), fold(p.Suffix)), nil
	case *matcherv3.StringMatcher_Contains:
		return strings.Contains(fold(value), fold(p.Contains)), nil
	case *matcherv3.StringMatcher_SafeRegex:
		return entirely(p.SafeRegex.GetRegex(), value)
	default:
		return false, fmt.Errorf("text %T: not known", p)
	}
}

func entirely(expression, value string) (bool, error) {
	return regexp.MatchString(`\A(?:`+expression+`)\z`, value)
}
