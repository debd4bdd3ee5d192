package route

import (
	"testing"

	"github.com/innermesh/innermesh/policy"
)

func TestMatch(t *testing.T) {
	header := func(h policy.HeaderMatch) policy.Match {
		h.Name = "X-Tenant"
		return policy.Match{Headers: []policy.HeaderMatch{h}}
	}
	query := func(q policy.QueryMatch) policy.Match {
		q.Name = "debug"
		return policy.Match{Query: []policy.QueryMatch{q}}
	}
	tests := map[string]struct {
		match   policy.Match
		fits    []*request
		missing []*request
	}{
		"anything": {policy.Match{}, []*request{get("GET /"), get("POST /x?y")}, nil},
		"path": {
			policy.Match{Path: "/orders"},
			[]*request{get("GET /orders"), get("GET /orders?x=1")},
			[]*request{get("GET /orders/"), get("GET /Orders"), get("GET /order")},
		},
		"path, any case": {
			policy.Match{Path: "/Orders", IgnoreCase: true},
			[]*request{get("GET /orders"), get("GET /ORDERS")}, []*request{get("GET /ordersx"), get("GET /0rders")},
		},
		"prefix is bytes, not segments": {
			policy.Match{PathPrefix: "/admin"},
			[]*request{get("GET /admin"), get("GET /administrator"), get("GET /admin/x")},
			[]*request{get("GET /adm"), get("GET /Admin"), get("GET /x/admin")},
		},
		"prefix, any case": {policy.Match{PathPrefix: "/admin", IgnoreCase: true}, []*request{get("GET /AdMinX")}, []*request{get("GET /a")}},
		"regex is for the whole path": {
			policy.Match{PathRegex: "/v[0-9]+|/w"},
			[]*request{get("GET /v1"), get("GET /w"), get("GET /v12?x=/y")},
			[]*request{get("GET /v1/"), get("GET /x/v1"), get("GET /V1"), get("GET /w\n")},
		},
		"regex ignores ignoreCase": {policy.Match{PathRegex: "/v", IgnoreCase: true}, []*request{get("GET /v")}, []*request{get("GET /V")}},
		"methods":                  {policy.Match{Methods: []string{"GET", "PUT"}}, []*request{get("PUT /")}, []*request{get("POST /"), get("get /")}},
		"header exact":             {header(policy.HeaderMatch{Exact: "a"}), []*request{get("GET /", "x-tenant: a")}, []*request{get("GET /"), get("GET /", "x-tenant: A"), get("GET /", "x-tenant: a", "x-tenant: a")}},
		"header values are joined": {header(policy.HeaderMatch{Exact: "a,b"}), []*request{get("GET /", "x-tenant: a", "x-tenant: b")}, nil},
		"header, any case":         {header(policy.HeaderMatch{Exact: "aB", IgnoreCase: true}), []*request{get("GET /", "x-tenant: Ab")}, []*request{get("GET /", "x-tenant: a")}},
		"header prefix":            {header(policy.HeaderMatch{Prefix: "ac"}), []*request{get("GET /", "x-tenant: acme")}, []*request{get("GET /", "x-tenant: me")}},
		"header suffix":            {header(policy.HeaderMatch{Suffix: "me"}), []*request{get("GET /", "x-tenant: acme")}, []*request{get("GET /", "x-tenant: mea")}},
		"header contains":          {header(policy.HeaderMatch{Contains: "cm"}), []*request{get("GET /", "x-tenant: acme")}, []*request{get("GET /", "x-tenant: amce")}},
		"header regex":             {header(policy.HeaderMatch{Regex: "a+"}), []*request{get("GET /", "x-tenant: aa")}, []*request{get("GET /", "x-tenant: aab")}},
		"header present":           {header(policy.HeaderMatch{Present: true}), []*request{get("GET /", "x-tenant: ")}, []*request{get("GET /")}},
		"header absent":            {header(policy.HeaderMatch{Present: true, Invert: true}), []*request{get("GET /")}, []*request{get("GET /", "x-tenant: a")}},
		"a missing header is no other value": {
			header(policy.HeaderMatch{Exact: "a", Invert: true}), []*request{get("GET /", "x-tenant: b")}, []*request{get("GET /"), get("GET /", "x-tenant: a")},
		},
		"query exact":      {query(policy.QueryMatch{Exact: "1"}), []*request{get("GET /?debug=1&debug=2")}, []*request{get("GET /"), get("GET /?debug=2&debug=1"), get("GET /?Debug=1")}},
		"query regex":      {query(policy.QueryMatch{Regex: "[0-9]"}), []*request{get("GET /?debug=1")}, []*request{get("GET /?debug=11")}},
		"query present":    {query(policy.QueryMatch{Present: true}), []*request{get("GET /?debug"), get("GET /?debug=x")}, []*request{get("GET /?d")}},
		"all that is said": {policy.Match{PathPrefix: "/a", Methods: []string{"GET"}, Query: []policy.QueryMatch{{Name: "q", Present: true}}}, []*request{get("GET /a?q")}, []*request{get("GET /a"), get("GET /b?q"), get("PUT /a?q")}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := (policy.Service{Routes: []policy.Route{{Match: test.match}}}).Validate(); err != nil {
				t.Fatal(err)
			}
			m, err := newMatch(test.match)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range test.fits {
				if !m.fits(r, r.method, r.path) {
					t.Errorf("%v does not fit", r)
				}
			}
			for _, r := range test.missing {
				if m.fits(r, r.method, r.path) {
					t.Errorf("%v fits", r)
				}
			}
		})
	}
}
