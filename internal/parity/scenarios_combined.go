package parity

// combined is what operators write when they mean it.
func combined() []Scenario {
	return []Scenario{
		{
			Name: "whole-canary", Why: "router, splitter and failover with timeouts, retries, headers, limits and a hash at once",
			Entries: entries(protocol("http", "web", "backup", "admin"),
				`{"Kind":"service-defaults","Name":"{caller}","Protocol":"http","UpstreamConfig":{"Defaults":{"Limits":{"MaxConnections":100},`+
					`"PassiveHealthCheck":{"MaxFailures":3,"Interval":"5s"}},"Overrides":[{"Name":"{web}","ConnectTimeoutMs":800}]}}`,
				versions("web", `,"DefaultSubset":"v1","ConnectTimeout":"2s","Failover":{"v1":{"Targets":[{"ServiceSubset":"v2"},{"Service":"{backup}"}]}},
				"LoadBalancer":{"Policy":"ring_hash","RingHashConfig":{"MinimumRingSize":2048},"HashPolicies":[{"Field":"header","FieldValue":"x-user","Terminal":true},{"SourceIP":true}]}`, "v1", "v2"),
				splitter("web", `{"Weight":99.5,"ServiceSubset":"v1"}`,
					`{"Weight":0.5,"ServiceSubset":"v2","RequestHeaders":{"Set":{"x-canary":"1"}},"ResponseHeaders":{"Set":{"x-canary":"1"}}}`),
				router(`{"Match":{"HTTP":{"PathPrefix":"/admin","Header":[{"Name":"x-role","Exact":"admin"}]}},"Destination":{"Service":"{admin}","PrefixRewrite":"/"}}`,
					`{"Match":{"HTTP":{"Header":[{"Name":"x-canary","Present":true}]}},"Destination":{"ServiceSubset":"v2","RequestTimeout":"30s"}}`,
					`{"Match":{"HTTP":{"PathPrefix":"/orders","Methods":["GET","HEAD"]}},"Destination":{"RequestTimeout":"3s","NumRetries":2,
					"RetryOn":["reset","connect-failure"],"RetryOnStatusCodes":[503],"RequestHeaders":{"Add":{"x-route":"orders"}}}}`)),
			Instances: []Instance{
				{Service: "web", Version: "v1", Passing: 10}, {Service: "web", Version: "v1", Passing: 10, Warning: 2, Health: "warning"},
				{Service: "web", Version: "v2"}, {Service: "web", Version: "v2", Health: "critical"}, {Service: "backup"}, {Service: "admin"},
			},
			Tries: []Try{
				{Request: get("/admin/users?x", "x-role", "admin"), Path: "/users?x", To: "admin"},
				{Request: get("/admin/users"), Route: 3, To: "v1.web 99.5 + v2.web 0.5"},
				{Request: get("/orders/1", "x-canary", "1"), Route: 1, To: "v2.web"},
				{Request: get("/orders/1"), Route: 2, To: "v1.web 99.5 + v2.web 0.5"},
				{Request: Request{Method: "POST", Path: "/orders/1"}, Route: 3, To: "v1.web 99.5 + v2.web 0.5"},
			},
		},
		{
			Name: "whole-bluegreen", Why: "two services behind one name, switched by a splitter behind a redirect",
			Entries: entries(protocol("http2", "web", "front", "blue", "green"), resolver("front", `"ConnectTimeout":"1s"`),
				splitter("front", `{"Weight":0,"Service":"{blue}"}`, `{"Weight":100,"Service":"{green}"}`),
				router(`{"Match":{"HTTP":{"PathPrefix":"/"}},"Destination":{"Service":"{front}"}}`)),
			Instances: each("blue", "green"),
			Tries:     []Try{{Request: get("/x"), To: "blue 0 + green 100"}},
		},
		{
			Name: "whole-redirected-splitter", Why: "a redirect leads past the splitter of the service it leads to",
			Entries: entries(protocol("http", "web", "a"), versions("a", "", "v1", "v2"),
				splitter("a", `{"Weight":50,"ServiceSubset":"v1"}`, `{"Weight":50,"ServiceSubset":"v2"}`), resolver("web", `"Redirect":{"Service":"{a}"}`)),
			Instances: each("web", "a@v1", "a@v2"), Tries: []Try{{Request: get("/"), To: "a"}},
		},
		{
			Name: "whole-other-router", Why: "the router of a service that a route leads to does not count, its splitter does",
			Entries: entries(protocol("http", "web", "a", "b"), splitter("a", `{"Weight":50}`, `{"Weight":50,"Service":"{b}"}`),
				`{"Kind":"service-router","Name":"{a}","Routes":[{"Destination":{"Service":"{b}"}}]}`,
				router(`{"Match":{"HTTP":{"PathPrefix":"/a"}},"Destination":{"Service":"{a}"}}`)),
			Instances: each("web", "a", "b"),
			Tries:     []Try{{Request: get("/a"), To: "a 50 + b 50"}, {Request: get("/"), Route: 1, To: "web"}},
		},
		{
			Name: "whole-two-failovers", Why: "legs of which each has its own failover, one elsewhere",
			Entries: entries(protocol("http", "web", "a"), versions("web", `,"Failover":{"v1":{"Service":"{a}"},"v2":{"Datacenters":["dc2"]}}`, "v1", "v2"),
				splitter("web", `{"Weight":50,"ServiceSubset":"v1"}`, `{"Weight":50,"ServiceSubset":"v2"}`)),
			Instances: append(each("web@v1", "web@v2", "a"), Instance{Service: "web", Version: "v2", Datacenter: "dc2"}),
			Tries:     []Try{{Request: get("/"), To: "v1.web 50 + v2.web 50"}},
		},
	}
}
