package parity

// splitters is about shares.
func splitters() []Scenario {
	web := entries(protocol("http", "web"), versions("web", "", "v1", "v2", "v3"))
	up := each("web@v1", "web@v2", "web@v3")
	leg := func(weight, fields string) string { return `{"Weight":` + weight + fields + `}` }
	sub := func(weight, subset string) string { return leg(weight, `,"ServiceSubset":"`+subset+`"`) }
	svc := func(weight, service string) string { return leg(weight, `,"Service":"{`+service+`}"`) }
	return []Scenario{
		{
			Name: "split-two", Why: "a canary: nine of ten stay",
			Entries: entries(web, splitter("web", sub("90", "v1"), sub("10", "v2"))), Instances: up,
			Tries: []Try{{Request: get("/any"), To: "v1.web 90 + v2.web 10"}},
		},
		{
			Name: "split-three", Why: "thirds, as far as hundredths go",
			Entries: entries(web, splitter("web", sub("33.34", "v1"), sub("33.33", "v2"), sub("33.33", "v3"))), Instances: up,
			Tries: []Try{{Request: get("/"), To: "v1.web 33.34 + v2.web 33.33 + v3.web 33.33"}},
		},
		{
			Name: "split-least", Why: "the smallest share is one of ten thousand",
			Entries: entries(web, splitter("web", sub("99.99", "v1"), sub("0.01", "v2"))), Instances: up,
			Tries: []Try{{Request: get("/"), To: "v1.web 99.99 + v2.web 0.01"}},
		},
		{
			Name: "split-too-fine", Why: "shares finer than a hundredth of a percent are rounded",
			Entries: entries(web, splitter("web", sub("99.996", "v1"), sub("0.004", "v2"))), Instances: up,
			Tries: []Try{{Request: get("/"), To: "v1.web 100 + v2.web 0"}},
		},
		{
			Name: "split-none", Why: "a leg without weight stays, and gets nothing",
			Entries: entries(web, splitter("web", sub("0", "v1"), sub("100", "v2"))), Instances: up,
			Tries: []Try{{Request: get("/"), To: "v1.web 0 + v2.web 100"}},
		},
		{
			Name: "split-one", Why: "one leg is a splitter too",
			Entries: entries(web, splitter("web", sub("100", "v2"))), Instances: up,
			Tries: []Try{{Request: get("/"), To: "v2.web"}},
		},
		{
			Name: "split-services", Why: "legs to other services and to the service itself",
			Entries: entries(protocol("http", "web", "a"), splitter("web", leg("75", ""), svc("25", "a"))), Instances: each("web", "a"),
			Tries: []Try{{Request: get("/"), To: "web 75 + a 25"}},
		},
		{
			Name: "split-nested", Why: "the splitter of a leg is multiplied in",
			Entries: entries(protocol("http", "web", "a"), versions("a", "", "v1", "v2"), versions("web", "", "v1"),
				splitter("a", sub("40", "v1"), sub("60", "v2")), splitter("web", sub("50", "v1"), svc("50", "a"))),
			Instances: each("web@v1", "a@v1", "a@v2"),
			Tries:     []Try{{Request: get("/"), To: "v1.web 50 + v1.a 20 + v2.a 30"}},
		},
		{
			Name: "split-nested-rounding", Why: "nested shares are rounded one by one, and count by their sum",
			Entries: entries(protocol("http", "web", "a"), versions("a", "", "v1", "v2", "v3"),
				splitter("a", sub("33.33", "v1"), sub("33.33", "v2"), sub("33.34", "v3")), splitter("web", leg("50", ""), svc("50", "a"))),
			Instances: each("web", "a@v1", "a@v2", "a@v3"),
			Tries:     []Try{{Request: get("/"), To: "web 49.995 + v1.a 16.6683 + v2.a 16.6683 + v3.a 16.6683"}},
		},
		{
			Name: "split-nested-deep", Why: "three levels",
			Entries: entries(protocol("http", "web", "a", "b"), versions("b", "", "v1", "v2"),
				splitter("b", sub("10", "v1"), sub("90", "v2")), splitter("a", leg("50", ""), svc("50", "b")), splitter("web", leg("90", ""), svc("10", "a"))),
			Instances: each("web", "a", "b@v1", "b@v2"),
			Tries:     []Try{{Request: get("/"), To: "web 90 + a 5 + v1.b 0.5 + v2.b 4.5"}},
		},
		{
			Name: "split-nested-headers", Why: "of merged legs the inner one has the word on requests, the outer one on responses",
			Entries: entries(protocol("http", "web", "a"),
				splitter("a", leg("100", `,"RequestHeaders":{"Set":{"x":"inner","i":"1"},"Remove":["ri"]},"ResponseHeaders":{"Set":{"y":"inner","i":"1"}}`)),
				splitter("web", leg("50", ""), svc("50", "a")[:len(svc("50", "a"))-1]+
					`,"RequestHeaders":{"Set":{"x":"outer","o":"1"},"Remove":["ro"]},"ResponseHeaders":{"Set":{"y":"outer","o":"1"}}}`)),
			Instances: each("web", "a"),
			Tries:     []Try{{Request: get("/"), To: "web 50 + a 50"}},
		},
		{
			Name: "split-headers", Why: "each leg changes headers in its own way",
			Entries: entries(web, splitter("web",
				leg("50", `,"ServiceSubset":"v1","RequestHeaders":{"Set":{"X-Split":"v1"},"Remove":["x-out"]},"ResponseHeaders":{"Add":{"x-from":"v1"}}`),
				leg("50", `,"ServiceSubset":"v2","RequestHeaders":{"Add":{"x-split":"v2"}},"ResponseHeaders":{"Remove":["server"]}`))), Instances: up,
			Tries: []Try{{Request: get("/", "x-split", "caller", "x-out", "1"), To: "v1.web 50 + v2.web 50"}},
		},
		{
			Name: "split-router", Why: "a route leads to the splitter of its service, but past it with a subset",
			Entries: entries(protocol("http", "web", "a"), versions("a", "", "v1", "v2"), splitter("a", sub("20", "v1"), sub("80", "v2")),
				router(`{"Match":{"HTTP":{"PathPrefix":"/all"}},"Destination":{"Service":"{a}"}}`,
					`{"Match":{"HTTP":{"PathPrefix":"/one"}},"Destination":{"Service":"{a}","ServiceSubset":"v1"}}`)),
			Instances: each("web", "a@v1", "a@v2"),
			Tries: []Try{
				{Request: get("/all"), To: "v1.a 20 + v2.a 80"},
				{Request: get("/one"), Route: 1, To: "v1.a"},
				{Request: get("/"), Route: 2, To: "web"},
			},
		},
		{
			Name: "split-redirect", Why: "a leg to a service that is redirected",
			Entries:   entries(protocol("http", "web", "a", "b"), resolver("a", `"Redirect":{"Service":"{b}"}`), splitter("web", leg("50", ""), svc("50", "a"))),
			Instances: each("web", "b"), Tries: []Try{{Request: get("/"), To: "web 50 + b 50"}},
		},
		{
			Name: "split-default-subset", Why: "a leg without a subset leads to the default one",
			Entries:   entries(protocol("http", "web"), versions("web", `,"DefaultSubset":"v1"`, "v1", "v2"), splitter("web", leg("99", ""), sub("1", "v2"))),
			Instances: each("web@v1", "web@v2"), Tries: []Try{{Request: get("/"), To: "v1.web 99 + v2.web 1"}},
		},
		{
			Name: "split-hash", Why: "the first leg that hashes gives the key for all",
			Entries: entries(protocol("http", "web", "a"),
				resolver("a", `"LoadBalancer":{"Policy":"maglev","HashPolicies":[{"Field":"header","FieldValue":"x-user"}]}`),
				splitter("web", leg("50", ""), svc("50", "a"))),
			Instances: each("web", "a"),
			Tries:     []Try{{Request: get("/"), To: "web 50 + a 50"}},
		},
	}
}
