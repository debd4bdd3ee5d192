package parity

// routerActions is about what a route does with what it takes.
func routerActions() []Scenario {
	// to is a route for all below a path; fields are those of its destination.
	to := func(path, fields string) string {
		return `{"Match":{"HTTP":{"PathPrefix":"` + path + `"}},"Destination":{` + fields + `}}`
	}
	base := protocol("http", "web", "a")
	up := each("web", "a")
	return []Scenario{
		{
			Name: "rewrite-none", Why: "without PrefixRewrite the path stays as it is (1.22.3 strips the prefix)",
			Entries:   entries(base, router(to("/a", `"Service":"{a}"`), to("/own", `"RequestTimeout":"1s"`), `{"Match":{"HTTP":{"PathPrefix":"/bare"}}}`)),
			Instances: up,
			Tries: []Try{
				{Request: get("/a/b?c=/a"), To: "a"},
				{Request: get("/ab"), To: "a"},
				{Request: get("/own/x"), Route: 1, To: "web"},
				{Request: get("/bare/x"), Route: 2, To: "web"},
				{Request: get("//x"), Route: 3, To: "web"},
			},
		},
		{
			Name: "rewrite-prefix", Why: "PrefixRewrite replaces just what matched, and the query stays",
			Entries: entries(base, router(to("/old/", `"PrefixRewrite":"/new/"`), to("/v1", `"Service":"{a}","PrefixRewrite":"/v2"`))), Instances: up,
			Tries: []Try{
				{Request: get("/old/x?q=/old/"), Path: "/new/x?q=/old/", To: "web"},
				{Request: get("/v1"), Route: 1, Path: "/v2", To: "a"},
				{Request: get("/v12/v1"), Route: 1, Path: "/v22/v1", To: "a"},
			},
		},
		{
			Name: "rewrite-root", Why: "PrefixRewrite / takes the prefix off and leaves exactly one slash",
			Entries: entries(base, router(to("/a", `"PrefixRewrite":"/"`), to("/b/", `"PrefixRewrite":"/"`))), Instances: up,
			Tries: []Try{
				{Request: get("/a"), Path: "/", To: "web"},
				{Request: get("/a/b/a"), Path: "/b/a", To: "web"},
				{Request: get("/ab?x"), Path: "/b?x", To: "web"},
				{Request: get("/b/c"), Route: 1, Path: "/c", To: "web"},
			},
		},
		{
			Name: "rewrite-all", Why: "of the prefix / only the slash is replaced, whatever follows",
			Entries: entries(base, router(to("/", `"PrefixRewrite":"/all"`))), Instances: up,
			Tries: []Try{{Request: get("/"), Path: "/all", To: "web"}, {Request: get("/x"), Path: "/allx", To: "web"}},
		},
		{
			Name: "rewrite-exact", Why: "PrefixRewrite replaces an exact path as a whole; with / it must become / (1.22.3 leaves it)",
			Entries: entries(base, router(
				`{"Match":{"HTTP":{"PathExact":"/one"}},"Destination":{"PrefixRewrite":"/two"}}`,
				`{"Match":{"HTTP":{"PathExact":"/gone"}},"Destination":{"PrefixRewrite":"/"}}`)), Instances: up,
			Tries: []Try{
				{Request: get("/one?a"), Path: "/two?a", To: "web"},
				{Request: get("/gone?a"), Route: 1, Path: "/?a", To: "web"},
			},
		},
		{
			Name: "rewrite-anycase", Why: "what matched in any case is replaced in any case",
			Entries: entries(base, router(
				`{"Match":{"HTTP":{"PathPrefix":"/Old","CaseInsensitive":true}},"Destination":{"PrefixRewrite":"/new"}}`,
				`{"Match":{"HTTP":{"PathPrefix":"/Root","CaseInsensitive":true}},"Destination":{"PrefixRewrite":"/"}}`)), Instances: up,
			Tries: []Try{
				{Request: get("/oLD/x"), Path: "/new/x", To: "web"},
				{Request: get("/rooT/x"), Route: 1, Path: "/x", To: "web"},
			},
		},
		{
			Name: "rewrite-special", Why: "what is special in expressions is not in a prefix that is taken off",
			Entries:   entries(base, router(to("/a+b", `"PrefixRewrite":"/"`), to("/a.b", `"PrefixRewrite":"/"`))),
			Instances: up,
			Tries: []Try{
				{Request: get("/a+b/c"), Path: "/c", To: "web"},
				{Request: get("/a.b/c"), Route: 1, Path: "/c", To: "web"},
			},
		},
		{
			Name: "timeout-request", Why: "RequestTimeout: set, unset (15 s), and negative (none)",
			Entries: entries(base, router(to("/set", `"RequestTimeout":"1500ms"`), to("/unset", `"Service":"{a}"`),
				to("/none", `"RequestTimeout":"-1s"`))), Instances: up,
			Tries: []Try{{Request: get("/set"), To: "web"}, {Request: get("/none"), Route: 2, To: "web"}},
		},
		{
			Name: "timeout-idle", Why: "IdleTimeout: set, unset (5 min), and negative (none)",
			Entries: entries(base, router(to("/set", `"IdleTimeout":"2s"`), to("/unset", `"Service":"{a}"`),
				to("/none", `"IdleTimeout":"-1s"`))), Instances: up,
			Tries: []Try{{Request: get("/set"), To: "web"}, {Request: get("/none"), Route: 2, To: "web"}},
		},
		{
			Name: "retry-conditions", Why: "every condition that Consul takes",
			Entries: entries(base, router(
				to("/server", `"NumRetries":2,"RetryOn":["5xx","gateway-error","reset","connect-failure","envoy-ratelimited","retriable-4xx","refused-stream"]`),
				to("/grpc", `"NumRetries":4,"RetryOn":["cancelled","deadline-exceeded","internal","resource-exhausted","unavailable"]`))), Instances: up,
			Tries: []Try{{Request: get("/server"), To: "web"}, {Request: get("/grpc"), Route: 1, To: "web"}},
		},
		{
			Name: "retry-statuses", Why: "statuses alone are retried once",
			Entries:   entries(base, router(to("/", `"RetryOnStatusCodes":[503,429]`))),
			Instances: up, Tries: []Try{{Request: get("/"), To: "web"}},
		},
		{
			Name: "retry-connect", Why: "RetryOnConnectFailure is a condition, and not two if it is in the list as well",
			Entries: entries(base, router(to("/flag", `"NumRetries":3,"RetryOnConnectFailure":true`),
				to("/both", `"RetryOnConnectFailure":true,"RetryOn":["connect-failure","reset"],"RetryOnStatusCodes":[500]`))),
			Instances: up, Tries: []Try{{Request: get("/flag"), To: "web"}, {Request: get("/both"), Route: 1, To: "web"}},
		},
		{
			Name: "retry-number", Why: "a number of retries without a condition retries nothing",
			Entries:   entries(base, router(to("/", `"NumRetries":5`))),
			Instances: up, Tries: []Try{{Request: get("/"), To: "web"}},
		},
		{
			Name: "headers-route", Why: "a route changes the headers of requests and responses",
			Entries: entries(base, router(to("/", `"RequestHeaders":{"Add":{"X-Add":"1"},"Set":{"X-Set":"2"},"Remove":["X-Gone","X-Also"]},`+
				`"ResponseHeaders":{"Add":{"X-Add":"3"},"Set":{"Server":"4"},"Remove":["Via"]}`))), Instances: up,
			Tries: []Try{{Request: get("/", "x-add", "0", "x-set", "0", "x-gone", "0"), To: "web"}},
		},
		{
			Name: "headers-percent", Why: "Consul hands on a % as it is written, and Envoy reads it as a format",
			Entries:   entries(base, router(to("/", `"RequestHeaders":{"Set":{"x-rate":"50%","x-from":"%DOWNSTREAM_REMOTE_ADDRESS%"}}`))),
			Instances: up, Tries: []Try{{Request: get("/"), To: "web"}},
		},
		{
			Name: "headers-order", Why: "within a level it is remove, set, add; the leg comes before the route",
			Entries: entries(base, versions("web", "", "v1", "v2"),
				splitter("web", `{"Weight":50,"ServiceSubset":"v1","RequestHeaders":{"Set":{"x":"leg"},"Add":{"y":"leg"}}}`, `{"Weight":50,"ServiceSubset":"v2"}`),
				router(to("/set", `"RequestHeaders":{"Set":{"x":"route"},"Add":{"x":"more","y":"route"}}`),
					to("/remove", `"RequestHeaders":{"Remove":["x","y"],"Add":{"y":"again"}}`))),
			Instances: each("web@v1", "web@v2"),
			Tries: []Try{
				{Request: get("/set"), To: "v1.web 50 + v2.web 50"},
				{Request: get("/remove"), Route: 1, To: "v1.web 50 + v2.web 50"},
			},
		},
	}
}
