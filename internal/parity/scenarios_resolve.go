package parity

// resolvers is about which instances a service has.
func resolvers() []Scenario {
	web := protocol("http", "web")
	return []Scenario{
		{Name: "resolve-tcp", Why: "without a word about it a service is a tcp one", Instances: each("web", "web")},
		{
			Name: "resolve-http", Why: "an http service without anything else has one route",
			Entries: web, Instances: each("web"),
			Tries: []Try{{Request: get("/x"), To: "web"}},
		},
		{Name: "resolve-nobody", Why: "a service that nobody offers", Entries: web, Tries: []Try{{Request: get("/"), To: "web"}}},
		{
			Name: "resolve-subsets", Why: "filters by meta, by tag, negated and joined",
			Entries: entries(web, resolver("web", `"Subsets":{
				"meta":{"Filter":"Service.Meta.version == v1"}, "not":{"Filter":"Service.Meta.version != v1"},
				"tag":{"Filter":"\"blue\" in Service.Tags"}, "both":{"Filter":"Service.Tags contains blue and Service.Meta[\"version\"] == v2"},
				"re":{"Filter":"Service.Meta.version matches \"v[12]\""}}`),
				splitter("web", `{"Weight":20,"ServiceSubset":"meta"}`, `{"Weight":20,"ServiceSubset":"not"}`, `{"Weight":20,"ServiceSubset":"tag"}`,
					`{"Weight":20,"ServiceSubset":"both"}`, `{"Weight":20,"ServiceSubset":"re"}`)),
			Instances: []Instance{
				{Service: "web", Version: "v1"}, {Service: "web", Version: "v2", Tags: []string{"blue"}},
				{Service: "web", Tags: []string{"blue", "green"}}, {Service: "web", Version: "v3"},
			},
			Tries: []Try{{Request: get("/"), To: "meta.web 20 + not.web 20 + tag.web 20 + both.web 20 + re.web 20"}},
		},
		{
			Name: "resolve-sidecars", Why: "of an instance behind a sidecar it is the sidecar that is called; at home nobody asks for its outer address",
			Entries: entries(web, versions("web", `,"DefaultSubset":"v1"`, "v1")),
			Instances: []Instance{
				{Service: "web", Version: "v1", Sidecar: true, Passing: 3}, {Service: "web", Version: "v1", WAN: "198.51.100.7:29001"},
				{Service: "web", Version: "v2", Sidecar: true},
			},
			Tries: []Try{{Request: get("/"), To: "v1.web"}},
		},
		{
			Name: "resolve-health", Why: "critical gets nothing, warning its own weight; weights end at 128",
			Entries: web,
			Instances: []Instance{
				{Service: "web", Passing: 10, Warning: 2},
				{Service: "web", Passing: 10, Warning: 2, Health: "warning"},
				{Service: "web", Passing: 10, Warning: 2, Health: "critical"},
				{Service: "web", Passing: 10, Warning: -1, Health: "warning"},
				{Service: "web", Passing: 1000},
			},
			Tries: []Try{{Request: get("/"), To: "web"}},
		},
		{
			Name: "resolve-only-passing", Why: "in a subset with OnlyPassing a warning is as bad as critical",
			Entries: entries(web, resolver("web", `"DefaultSubset":"strict","Subsets":{"strict":{"OnlyPassing":true}}`)),
			Instances: []Instance{
				{Service: "web"}, {Service: "web", Health: "warning", Warning: 5}, {Service: "web", Health: "critical"},
			},
			Tries: []Try{{Request: get("/"), To: "strict.web"}},
		},
		{
			Name: "resolve-default-subset", Why: "whoever names no subset gets the default one",
			Entries: entries(web, versions("web", `,"DefaultSubset":"v1"`, "v1", "v2")), Instances: each("web@v1", "web@v2"),
			Tries: []Try{{Request: get("/"), To: "v1.web"}},
		},
		{
			Name: "redirect-service", Why: "another service answers, with its own settings only",
			Entries: entries(protocol("http", "web", "a"), resolver("a", `"ConnectTimeout":"3s","LoadBalancer":{"Policy":"random"}`),
				resolver("web", `"Redirect":{"Service":"{a}"}`)),
			Instances: each("web", "a"), Tries: []Try{{Request: get("/"), To: "a"}},
		},
		{
			Name: "redirect-subset", Why: "a subset of another service answers",
			Entries: entries(protocol("http", "web", "a"), versions("a", "", "v1", "v2"),
				resolver("web", `"Redirect":{"Service":"{a}","ServiceSubset":"v2"}`)),
			Instances: each("web", "a@v1", "a@v2"), Tries: []Try{{Request: get("/"), To: "v2.a"}},
		},
		{
			Name: "redirect-subsets", Why: "subsets beside a redirect are taken, and have no effect",
			Entries:   entries(protocol("http", "web", "a"), versions("web", `,"Redirect":{"Service":"{a}"}`, "v1")),
			Instances: each("web@v1", "a"), Tries: []Try{{Request: get("/"), To: "a"}},
		},
		{
			Name: "redirect-datacenter", Why: "the service of the other datacenter answers",
			Entries:   entries(web, resolver("web", `"Redirect":{"Datacenter":"dc2"}`)),
			Instances: []Instance{{Service: "web"}, {Service: "web", Datacenter: "dc2"}, {Service: "web", Datacenter: "dc2", WAN: "198.51.100.7:29001"}},
			Tries:     []Try{{Request: get("/"), To: "web@dc2"}},
		},
		{
			Name: "redirect-chain", Why: "a redirect to a redirect, to a default subset at last",
			Entries: entries(protocol("http", "web", "a", "b"), versions("b", `,"DefaultSubset":"v1"`, "v1"),
				resolver("a", `"Redirect":{"Service":"{b}"}`), resolver("web", `"Redirect":{"Service":"{a}"}`)),
			Instances: each("web", "a", "b@v1", "b@v2"), Tries: []Try{{Request: get("/"), To: "v1.b"}},
		},
		{
			Name: "redirect-behind-router", Why: "a route to a service that is redirected",
			Entries: entries(protocol("http", "web", "a", "b"), resolver("a", `"Redirect":{"Service":"{b}"}`),
				router(`{"Match":{"HTTP":{"PathPrefix":"/a"}},"Destination":{"Service":"{a}"}}`)),
			Instances: each("web", "b"),
			Tries:     []Try{{Request: get("/a"), To: "b"}, {Request: get("/"), Route: 1, To: "web"}},
		},
		{
			Name: "redirect-tcp", Why: "connections are redirected as well",
			Entries: entries(resolver("web", `"Redirect":{"Service":"{a}"}`)), Instances: each("web", "a"),
		},
		{
			Name: "timeout-connect", Why: "ConnectTimeout of the resolver",
			Entries: entries(web, resolver("web", `"ConnectTimeout":"250ms"`)), Instances: each("web"),
			Tries: []Try{{Request: get("/"), To: "web"}},
		},
		{
			Name: "timeout-resolver", Why: "RequestTimeout of the resolver where the chain begins with it",
			Entries: entries(web, resolver("web", `"RequestTimeout":"7s"`)), Instances: each("web"),
			Tries: []Try{{Request: get("/"), To: "web"}},
		},
		{
			Name: "timeout-resolver-behind", Why: "RequestTimeout of the resolver has no effect behind a router",
			Entries: entries(protocol("http", "web", "a"), resolver("a", `"RequestTimeout":"7s"`), resolver("web", `"RequestTimeout":"6s"`),
				router(`{"Match":{"HTTP":{"PathPrefix":"/a"}},"Destination":{"Service":"{a}"}}`)),
			Instances: each("web", "a"),
			Tries:     []Try{{Request: get("/a"), To: "a"}, {Request: get("/"), Route: 1, To: "web"}},
		},
		{
			Name: "timeout-resolver-split", Why: "RequestTimeout of the resolver has no effect behind a splitter",
			Entries: entries(web, versions("web", `,"RequestTimeout":"7s"`, "v1", "v2"),
				splitter("web", `{"Weight":50,"ServiceSubset":"v1"}`, `{"Weight":50,"ServiceSubset":"v2"}`)),
			Instances: each("web@v1", "web@v2"), Tries: []Try{{Request: get("/"), To: "v1.web 50 + v2.web 50"}},
		},
		{
			Name: "external-sni", Why: "ExternalSNI is sent instead of the name inside the mesh",
			Entries:   []string{`{"Kind":"service-defaults","Name":"{web}","Protocol":"http","ExternalSNI":"shop.example.com"}`},
			Instances: each("web"), Tries: []Try{{Request: get("/"), To: "web"}},
		},
	}
}
