package parity

import "net/http"

// routerMatches is about which route is taken.
func routerMatches() []Scenario {
	// Each route has a service of its own, so that a mistake shows.
	to := func(match, service string) string {
		return `{"Match":{"HTTP":{` + match + `}},"Destination":{"Service":"{` + service + `}"}}`
	}
	base := protocol("http", "web", "a", "b", "c", "d", "e")
	up := each("web", "a", "b", "c", "d", "e")
	return []Scenario{
		{
			Name: "match-exact", Why: "an exact path does not cover what follows it, and the query does not count",
			Entries: entries(base, router(to(`"PathExact":"/exact"`, "a"))), Instances: up,
			Tries: []Try{
				{Request: get("/exact"), To: "a"},
				{Request: get("/exact?x=1"), To: "a"},
				{Request: get("/exact/"), Route: 1, To: "web"},
				{Request: get("/Exact"), Route: 1, To: "web"},
			},
		},
		{
			Name: "match-exact-anycase", Why: "CaseInsensitive reaches exact paths",
			Entries:   entries(base, router(to(`"PathExact":"/Exact","CaseInsensitive":true`, "a"))),
			Instances: up,
			Tries:     []Try{{Request: get("/eXACT"), To: "a"}, {Request: get("/exac"), Route: 1, To: "web"}},
		},
		{
			Name: "match-prefix", Why: "a prefix is bytes: /admin covers /administrator",
			Entries: entries(base, router(to(`"PathPrefix":"/admin"`, "a"))), Instances: up,
			Tries: []Try{
				{Request: get("/admin"), To: "a"},
				{Request: get("/administrator"), To: "a"},
				{Request: get("/admin/x?y=/z"), To: "a"},
				{Request: get("/Admin"), Route: 1, To: "web"},
				{Request: get("/"), Route: 1, To: "web"},
			},
		},
		{
			Name: "match-prefix-anycase", Why: "CaseInsensitive reaches prefixes",
			Entries:   entries(base, router(to(`"PathPrefix":"/Admin","CaseInsensitive":true`, "a"))),
			Instances: up,
			Tries:     []Try{{Request: get("/aDMIN/X"), To: "a"}, {Request: get("/adm"), Route: 1, To: "web"}},
		},
		{
			Name: "match-regex", Why: "an expression covers the whole path, without the query",
			Entries: entries(base, router(to(`"PathRegex":"/v[0-9]+/(a|bc)"`, "a"), to(`"PathRegex":"/x|/y"`, "b"))), Instances: up,
			Tries: []Try{
				{Request: get("/v12/bc?q"), To: "a"},
				{Request: get("/v12/bcd"), Route: 2, To: "web"},
				{Request: get("/z/v1/a"), Route: 2, To: "web"},
				{Request: get("/y"), Route: 1, To: "b"},
				{Request: get("/xx"), Route: 2, To: "web"},
			},
		},
		{
			Name: "match-regex-anycase", Why: "CaseInsensitive does not reach expressions",
			Entries:   entries(base, router(to(`"PathRegex":"/[a-c]+","CaseInsensitive":true`, "a"))),
			Instances: up,
			Tries:     []Try{{Request: get("/abc"), To: "a"}, {Request: get("/ABC"), Route: 1, To: "web"}},
		},
		{
			Name: "match-regex-broken", Why: "Consul takes an expression that does not compile, and Envoy then refuses all routes",
			Entries:   entries(base, router(to(`"PathRegex":"/("`, "a"))),
			Instances: up, Tries: []Try{{Request: get("/")}}, Unusable: "missing closing )",
		},
		{
			Name: "match-header-kinds", Why: "one header of every kind; names have no case, values do",
			Entries: entries(base, router(
				to(`"Header":[{"Name":"X-Kind","Exact":"One"}]`, "a"),
				to(`"Header":[{"Name":"x-kind","Prefix":"tw"}]`, "b"),
				to(`"Header":[{"Name":"x-kind","Suffix":"ee"}]`, "c"),
				to(`"Header":[{"Name":"x-kind","Regex":"f(our|ive)"}]`, "d"),
				to(`"Header":[{"Name":"x-kind","Present":true}]`, "e"),
			)), Instances: up,
			Tries: []Try{
				{Request: get("/", "x-kind", "One"), To: "a"},
				{Request: get("/", "x-kind", "one"), Route: 4, To: "e"},
				{Request: get("/", "x-kind", "two"), Route: 1, To: "b"},
				{Request: get("/", "x-kind", "three"), Route: 2, To: "c"},
				{Request: get("/", "x-kind", "five"), Route: 3, To: "d"},
				{Request: get("/", "x-kind", "fives"), Route: 4, To: "e"},
				{Request: get("/", "x-kind", ""), Route: 4, To: "e"},
				{Request: get("/", "x-other", "One"), Route: 5, To: "web"},
			},
		},
		{
			Name: "match-header-invert", Why: "inverted, a header that is missing still does not match, but for Present",
			Entries: entries(base, router(
				to(`"Header":[{"Name":"x-exact","Exact":"1","Invert":true}]`, "a"),
				to(`"Header":[{"Name":"x-prefix","Prefix":"1","Invert":true}]`, "b"),
				to(`"Header":[{"Name":"x-suffix","Suffix":"1","Invert":true}]`, "c"),
				to(`"Header":[{"Name":"x-regex","Regex":"1+","Invert":true}]`, "d"),
				to(`"Header":[{"Name":"x-present","Present":true,"Invert":true}]`, "e"),
			)), Instances: up,
			Tries: []Try{
				{Request: get("/", "x-exact", "2"), To: "a"},
				{Request: get("/", "x-exact", "1", "x-present", "1"), Route: 5, To: "web"},
				{Request: get("/", "x-prefix", "21"), Route: 1, To: "b"},
				{Request: get("/", "x-suffix", "12"), Route: 2, To: "c"},
				{Request: get("/", "x-regex", "12"), Route: 3, To: "d"},
				{Request: get("/"), Route: 4, To: "e"},
				{Request: get("/", "x-present", ""), Route: 5, To: "web"},
			},
		},
		{
			Name: "match-header-joined", Why: "several values of a name are compared as one, joined with commas",
			Entries:   entries(base, router(to(`"Header":[{"Name":"x-many","Exact":"1,2"}]`, "a"))),
			Instances: up,
			Tries: []Try{
				{Request: get("/", "x-many", "1", "x-many", "2"), To: "a"},
				{Request: get("/", "x-many", "2", "x-many", "1"), Route: 1, To: "web"},
				{Request: get("/", "x-many", "1"), Route: 1, To: "web"},
			},
		},
		{
			Name: "match-host", Why: "host, method and path are headers, too",
			Entries: entries(base, router(
				to(`"Header":[{"Name":":authority","Exact":"a.example.com"}]`, "a"),
				to(`"Header":[{"Name":"Host","Suffix":".example.com"}]`, "b"),
				to(`"Header":[{"Name":":path","Regex":"/x\\?.+"}]`, "c"),
				to(`"Header":[{"Name":":method","Exact":"PUT"}]`, "d"))), Instances: up,
			Tries: []Try{
				{Request: Request{Host: "a.example.com"}, To: "a"},
				{Request: Request{Host: "b.example.com"}, Route: 1, To: "b"},
				{Request: get("/x?y"), Route: 2, To: "c"},
				{Request: Request{Method: http.MethodPut, Path: "/x"}, Route: 3, To: "d"},
				{Request: get("/x"), Route: 4, To: "web"},
			},
		},
		{
			Name: "match-query", Why: "parameters of the query by every kind; all must hold",
			Entries: entries(base, router(
				to(`"QueryParam":[{"Name":"a","Exact":"1"},{"Name":"b","Present":true}]`, "a"),
				to(`"QueryParam":[{"Name":"a","Regex":"[0-9]+"}]`, "b"),
				to(`"QueryParam":[{"Name":"b","Present":true}]`, "c"),
			)), Instances: up,
			Tries: []Try{
				{Request: get("/?a=1&b"), To: "a"},
				{Request: get("/?b=&a=1"), To: "a"},
				{Request: get("/?a=1"), Route: 1, To: "b"},
				{Request: get("/?a=22"), Route: 1, To: "b"},
				{Request: get("/?a=x&b=1"), Route: 2, To: "c"},
				{Request: get("/?A=1"), Route: 3, To: "web"},
				{Request: get("/a=1&b"), Route: 3, To: "web"},
			},
		},
		{
			Name: "match-methods", Why: "methods are written in any case and compared in upper case",
			Entries: entries(base, router(to(`"Methods":["put","DELETE"]`, "a"))), Instances: up,
			Tries: []Try{
				{Request: Request{Method: http.MethodPut}, To: "a"},
				{Request: Request{Method: http.MethodDelete, Path: "/x"}, To: "a"},
				{Request: get("/"), Route: 1, To: "web"},
			},
		},
		{
			Name: "match-all", Why: "path, headers, query and method must all hold",
			Entries: entries(base, router(to(`"PathPrefix":"/p","Methods":["POST"],"QueryParam":[{"Name":"q","Present":true}],`+
				`"Header":[{"Name":"x","Exact":"1"},{"Name":"y","Present":true,"Invert":true}]`, "a"))), Instances: up,
			Tries: []Try{
				{Request: Request{Method: http.MethodPost, Path: "/pp?q", Header: http.Header{"X": {"1"}}}, To: "a"},
				{Request: get("/pp?q", "x", "1"), Route: 1, To: "web"},
				{Request: Request{Method: http.MethodPost, Path: "/pp", Header: http.Header{"X": {"1"}}}, Route: 1, To: "web"},
				{Request: Request{Method: http.MethodPost, Path: "/o?q", Header: http.Header{"X": {"1"}}}, Route: 1, To: "web"},
				{Request: Request{Method: http.MethodPost, Path: "/pp?q", Header: http.Header{"X": {"1"}, "Y": {""}}}, Route: 1, To: "web"},
			},
		},
		{
			Name: "match-order", Why: "the first route wins, however exact a later one is",
			Entries: entries(base, router(
				to(`"PathPrefix":"/a"`, "a"), to(`"PathExact":"/ab"`, "b"), to(`"PathPrefix":"/"`, "c"), to(`"PathExact":"/d"`, "d"),
			)), Instances: up,
			Tries: []Try{{Request: get("/ab"), To: "a"}, {Request: get("/d"), Route: 2, To: "c"}},
		},
		{
			Name: "match-none", Why: "a route without a match takes all, one without a destination leads to the service itself",
			Entries: entries(base, router(`{"Match":{"HTTP":{"PathPrefix":"/own"}}}`, `{"Destination":{"Service":"{a}"}}`)), Instances: up,
			Tries: []Try{
				{Request: get("/own"), To: "web"},
				{Request: get("/other"), Route: 1, To: "a"},
			},
		},
		{
			Name: "match-subsets", Why: "routes to subsets of the service and of another one",
			Entries: entries(base, versions("web", "", "v1", "v2"), versions("a", "", "v1"), router(
				`{"Match":{"HTTP":{"PathPrefix":"/2"}},"Destination":{"ServiceSubset":"v2"}}`,
				`{"Match":{"HTTP":{"PathPrefix":"/1"}},"Destination":{"Service":"{a}","ServiceSubset":"v1"}}`)),
			Instances: each("web@v1", "web@v2", "web@v2", "a@v1", "a@v2"),
			Tries: []Try{
				{Request: get("/2"), To: "v2.web"},
				{Request: get("/1"), Route: 1, To: "v1.a"},
				{Request: get("/"), Route: 2, To: "web"},
			},
		},
	}
}
