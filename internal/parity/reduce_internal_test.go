package parity

import (
	"errors"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestOnly(t *testing.T) {
	t.Parallel()
	m := &clusterv3.CircuitBreakers_Thresholds{MaxRequests: wrapperspb.UInt32(0), TrackRemaining: true}
	if err := only(m, "max_requests", "track_remaining"); err != nil {
		t.Error(err)
	}
	if err := only(m, "track_remaining"); err == nil || !strings.Contains(err.Error(), "max_requests") {
		t.Errorf("got %v, want an error that names max_requests", err)
	}
	if err := only((*clusterv3.OutlierDetection)(nil)); err != nil {
		t.Errorf("nothing has nothing set: %v", err)
	}
}

func TestTargetID(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"web.default.dc1.internal.td.consul":                 "web.default.default.dc1",
		"v1.web.default.dc2.internal.td.consul":              "v1.web.default.default.dc2",
		"0a1b~v1.web.default.dc1.internal.td.consul":         "v1.web.default.default.dc1",
		"failover-target~1~0a1b~web.default.dc1.internal.td": "web.default.default.dc1",
		"web.default.external.td.consul":                     "",
		"shop.example.com":                                   "",
		"web.internal.td":                                    "",
		"a.b.web.default.dc1.internal.td":                    "",
	} {
		got, err := targetID(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	for want, got := range map[string]string{"web.default.default.dc1": Key("", "web", "dc1"), "v1.web.default.default.dc2": Key("v1", "web", "dc2")} {
		if got != want {
			t.Errorf("key %q, want %q", got, want)
		}
	}
	if got, err := spiffeTarget("spiffe://td.consul/ns/default/dc/dc2/svc/web"); got != "web.default.default.dc2" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := spiffeTarget("spiffe://td.consul/gateway/mesh/dc/dc2"); err == nil {
		t.Errorf("a gateway is the target %q", got)
	}
}

func TestRewriteKnowsOneExpression(t *testing.T) {
	t.Parallel()
	action := func(re, to string) *routev3.RouteAction {
		return &routev3.RouteAction{RegexRewrite: &matcherv3.RegexMatchAndSubstitute{
			Pattern: &matcherv3.RegexMatcher{Regex: re}, Substitution: to,
		}}
	}
	prefix := PathMatch{Kind: Prefix, Value: "/a.b"}
	if got, err := rewrite(action(`^/a\.b(/?)(.*)`, `/\2`), prefix); got != "/" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for _, a := range []*routev3.RouteAction{action(`^/a.b(/?)(.*)`, `/\2`), action(`^/a\.b(/?)(.*)`, `/\1`), action(`(?i)^/a\.b(/?)(.*)`, `/\2`)} {
		if got, err := rewrite(a, prefix); err == nil {
			t.Errorf("%v: got %q, want an error", a, got)
		}
	}
}

func TestWhatIsMissing(t *testing.T) {
	t.Parallel()
	r := newResources()
	if _, err := r.upstream("web"); !errors.As(err, new(missingError)) {
		t.Errorf("nothing is there: %v", err)
	}
	r.listeners["web:127.0.0.1:1"] = &listenerv3.Listener{Name: "web:127.0.0.1:1", BindToPort: wrapperspb.Bool(false)}
	if _, err := r.upstream("web"); err == nil || errors.As(err, new(missingError)) || !strings.Contains(err.Error(), "bind_to_port") {
		t.Errorf("got %v, want an error that names bind_to_port", err)
	}
}
