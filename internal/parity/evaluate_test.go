package parity_test

import (
	"net/http"
	"testing"

	"github.com/innermesh/innermesh/internal/parity"
)

// What scenarios cannot say: they need a Consul, and compare neither headers nor
// kinds that Consul does not write.
func TestEvaluateMatches(t *testing.T) {
	t.Parallel()
	header := func(kind, value string, invert bool) parity.Match {
		return parity.Match{
			Path:    parity.PathMatch{Kind: parity.Prefix, Value: "/"},
			Headers: []parity.ValueMatch{{Name: "x-a", Kind: kind, Value: value, Invert: invert}},
		}
	}
	anycase := header(parity.Exact, "One", false)
	anycase.Headers[0].IgnoreCase = true
	with := func(values ...string) parity.Request { return parity.Request{Header: http.Header{"X-A": values}} }
	path := func(kind, value string) parity.Match {
		return parity.Match{Path: parity.PathMatch{Kind: kind, Value: value}}
	}
	for name, test := range map[string]struct {
		match   parity.Match
		request parity.Request
		want    bool
	}{
		"contains":                {header(parity.Contains, "b", false), with("abc"), true},
		"contains not":            {header(parity.Contains, "b", false), with("ac"), false},
		"inverted and missing":    {header(parity.Exact, "1", true), parity.Request{}, false},
		"inverted and other":      {header(parity.Exact, "1", true), with("2"), true},
		"absent":                  {header(parity.Present, "", true), parity.Request{}, true},
		"joined":                  {header(parity.Suffix, "1,2", false), with("0", "1", "2"), true},
		"any case":                {anycase, with("oNE"), true},
		"expression is whole":     {header(parity.Regex, "a|b", false), with("ab"), false},
		"path expression":         {path(parity.Regex, "/a|/b"), parity.Request{Path: "/b?x"}, true},
		"path expression is more": {path(parity.Regex, "/a"), parity.Request{Path: "/ab"}, false},
		"exact with query":        {path(parity.Exact, "/a"), parity.Request{Path: "/a?b"}, true},
		"prefix of bytes":         {path(parity.Prefix, "/a"), parity.Request{Path: "/ab"}, true},
	} {
		u := &parity.Upstream{Routes: []parity.Route{{Match: test.match, Legs: []parity.Leg{{Target: "t", Weight: 1}}}}}
		d, err := u.Evaluate(test.request)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := d.Route == 0; got != test.want {
			t.Errorf("%s: matches %v, want %v", name, got, test.want)
		}
	}
}

func TestEvaluateRewrites(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ kind, value, rewrite, path, want string }{
		{parity.Prefix, "/a", "", "/a/b", "/a/b"},
		{parity.Prefix, "/a", "/c", "/a/b?q=/a", "/c/b?q=/a"},
		{parity.Prefix, "/a", "/", "/a", "/"},
		{parity.Prefix, "/a", "/", "/a/b", "/b"},
		{parity.Prefix, "/a", "/", "/ab", "/b"},
		{parity.Prefix, "/a/", "/", "/a/b", "/b"},
		{parity.Prefix, "/", "/", "//b", "/b"},
		{parity.Exact, "/a", "/c", "/a?", "/c?"},
		{parity.Exact, "/a", "/", "/a", "/"},
	} {
		u := &parity.Upstream{Routes: []parity.Route{{
			Match: parity.Match{Path: parity.PathMatch{Kind: test.kind, Value: test.value}}, Rewrite: test.rewrite,
			Legs: []parity.Leg{{Target: "t", Weight: 1}},
		}}}
		d, err := u.Evaluate(parity.Request{Path: test.path})
		if err != nil || d.Path != test.want {
			t.Errorf("%+v: got %q, %v", test, d.Path, err)
		}
	}
}

func TestEvaluateHeaders(t *testing.T) {
	t.Parallel()
	u := &parity.Upstream{Routes: []parity.Route{{
		Match: parity.Match{Path: parity.PathMatch{Kind: parity.Prefix, Value: "/"}},
		Request: parity.HeaderMods{
			Set: map[string]string{"x": "route"}, Add: map[string]string{"x": "more", "y": "route"}, Remove: []string{"z"},
		},
		Legs: []parity.Leg{
			{Target: "one", Weight: 3, Request: parity.HeaderMods{Set: map[string]string{"x": "leg", "z": "leg"}, Add: map[string]string{"y": "leg"}}},
			{Target: "two", Weight: 1},
		},
	}}}
	sent := http.Header{"X": {"caller"}, "Y": {"caller"}}
	d, err := u.Evaluate(parity.Request{Header: sent})
	if err != nil {
		t.Fatal(err)
	}
	want := []parity.Way{
		{Target: "one", Share: 0.75, Header: http.Header{"X": {"route", "more"}, "Y": {"caller", "leg", "route"}}},
		{Target: "two", Share: 0.25, Header: http.Header{"X": {"route", "more"}, "Y": {"caller", "route"}}},
	}
	if diff := parity.Diff(want, d.Legs); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := parity.Diff(http.Header{"X": {"caller"}, "Y": {"caller"}}, sent); diff != "" {
		t.Errorf("the caller's header has changed:\n%s", diff)
	}
}

func TestEvaluateBrokenExpression(t *testing.T) {
	t.Parallel()
	u := &parity.Upstream{Routes: []parity.Route{{Match: parity.Match{Path: parity.PathMatch{Kind: parity.Regex, Value: "("}}}}}
	if d, err := u.Evaluate(parity.Request{}); err == nil {
		t.Errorf("got %+v, want an error", d)
	}
}

func TestDocumented(t *testing.T) {
	t.Parallel()
	u := &parity.Upstream{
		Routes: []parity.Route{{Rewrite: "/"}, {Rewrite: "/"}},
		Clusters: map[string]parity.Cluster{
			"a": {Levels: []parity.Level{{Balancer: parity.Balancer{Policy: "ring_hash", MaxRing: 10}}}},
			"b": {Levels: []parity.Level{{Balancer: parity.Balancer{Policy: "random"}}}},
		},
		Defects: []parity.Defect{{ID: parity.PrefixStripped, Route: 0}, {ID: parity.SentAsZero, Route: -1, Cluster: "a"}},
	}
	d := u.Documented()
	if d.Routes[0].Rewrite != "" || d.Routes[1].Rewrite != "/" || d.Defects != nil || d.Clusters["a"].Levels[0].Balancer.MinRing != 1024 {
		t.Errorf("got %+v", d)
	}
	if u.Routes[0].Rewrite != "/" || len(u.Defects) != 2 || u.Clusters["a"].Levels[0].Balancer.MinRing != 0 {
		t.Errorf("what was served has changed: %+v", u)
	}
}
