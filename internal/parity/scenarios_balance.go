package parity

// balancers is about which instance is picked.
func balancers() []Scenario {
	one := func(name, why, fields string, more ...Request) Scenario {
		s := Scenario{
			Name: "balance-" + name, Why: why,
			Entries:   entries(protocol("http", "web"), resolver("web", `"LoadBalancer":{`+fields+`}`)),
			Instances: each("web", "web", "web"), Tries: []Try{{Request: get("/"), To: "web"}},
		}
		for _, r := range more {
			s.Tries = append(s.Tries, Try{Request: r, To: "web"})
		}
		return s
	}
	return []Scenario{
		one("round-robin", "by name what is the default anyway", `"Policy":"round_robin"`),
		one("random", "at random", `"Policy":"random"`),
		one("least-request", "the better of two by default", `"Policy":"least_request"`),
		one("least-request-choices", "the best of five", `"Policy":"least_request","LeastRequestConfig":{"ChoiceCount":5}`),
		one("ring", "a ring of default size, by a header", `"Policy":"ring_hash","HashPolicies":[{"Field":"header","FieldValue":"X-User"}]`,
			get("/", "x-user", "7"), get("/", "x-user", "8", "x-user", "9")),
		one("ring-size", "a ring within bounds",
			`"Policy":"ring_hash","RingHashConfig":{"MinimumRingSize":10,"MaximumRingSize":1000},"HashPolicies":[{"SourceIP":true}]`),
		one("ring-min", "a ring of which only the least size is said (1.22.3 sends 0 as the other)",
			`"Policy":"ring_hash","RingHashConfig":{"MinimumRingSize":2048}`),
		one("ring-max", "a ring of which only the most size is said (1.22.3 sends 0 as the other)",
			`"Policy":"ring_hash","RingHashConfig":{"MaximumRingSize":4096}`),
		one("maglev", "a table, by a parameter of the query", `"Policy":"maglev","HashPolicies":[{"Field":"query_parameter","FieldValue":"user"}]`,
			get("/?user=7")),
		one("cookie", "cookies: one that the caller must have, one with a time to live, one for the session",
			`"Policy":"maglev","HashPolicies":[{"Field":"cookie","FieldValue":"own"},
			{"Field":"cookie","FieldValue":"made","CookieConfig":{"TTL":"30s","Path":"/p"}},{"Field":"cookie","FieldValue":"session","CookieConfig":{"Session":true}}]`,
			get("/", "Cookie", "made=1; own=2; session=3"), get("/", "Cookie", "made=1")),
		one("terminal", "several keys are combined, unless a terminal one is there",
			`"Policy":"ring_hash","HashPolicies":[{"Field":"header","FieldValue":"x-a","Terminal":true},{"Field":"header","FieldValue":"x-b"},{"SourceIP":true}]`,
			get("/", "x-a", "1", "x-b", "2"), get("/", "x-b", "2")),
		one("hash-none", "a table without a key", `"Policy":"maglev"`),
		weighted("round-robin", `"Policy":"round_robin"`),
		weighted("random", `"Policy":"random"`),
		{
			Name: "balance-tcp", Why: "connections are balanced too",
			Entries: entries(resolver("web", `"LoadBalancer":{"Policy":"random"}`)), Instances: each("web", "web"),
		},
		{
			Name: "balance-tcp-hash", Why: "of connections there is only the source to hash",
			Entries: entries(resolver("web", `"LoadBalancer":{"Policy":"ring_hash","HashPolicies":[{"SourceIP":true}]}`)), Instances: each("web", "web"),
		},
	}
}

// weighted has instances of which one is to get most.
func weighted(name, fields string) Scenario {
	return Scenario{
		Name: "balance-weights-" + name, Why: "shares go by weight",
		Entries: entries(protocol("http", "web"), resolver("web", `"LoadBalancer":{`+fields+`}`)),
		Instances: []Instance{
			{Service: "web", Passing: 100}, {Service: "web", Passing: 10}, {Service: "web", Passing: 100, Warning: 20, Health: "warning"},
		},
		Tries: []Try{{Request: get("/"), To: "web"}},
	}
}
