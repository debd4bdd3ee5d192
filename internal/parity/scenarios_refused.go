package parity

// refused is what Consul does not take, so that nobody else has to think about
// it.
func refused() []Scenario {
	web := protocol("http", "web")
	one := func(name, why, says string, list ...any) Scenario {
		return Scenario{Name: "refused-" + name, Why: why, Entries: entries(list...), Refused: says}
	}
	route := func(match, destination string) string {
		return router(`{"Match":{"HTTP":{` + match + `}},"Destination":{` + destination + `}}`)
	}
	return []Scenario{
		one("weights", "weights that do not sum up to 100", "the sum of all split weights must be 100", web, splitter("web", `{"Weight":50}`, `{"Weight":49.9,"ServiceSubset":"v2"}`)),
		one("split-twice", "a splitter that names the same target twice", "split destination occurs more than once", web, splitter("web", `{"Weight":50}`, `{"Weight":50}`)),
		one("router-tcp", "a router for a tcp service", "does not permit advanced routing or splitting", route(`"PathPrefix":"/"`, ``)),
		one("splitter-tcp", "a splitter for a tcp service", "does not permit advanced routing or splitting", splitter("web", `{"Weight":100}`)),
		one("two-paths", "two kinds of path in one match", "at most one of PathExact, PathPrefix, or PathRegex", web, route(`"PathPrefix":"/a","PathExact":"/b"`, ``)),
		one("path-slash", "a path that does not begin with a slash", "PathPrefix doesn't start with '/'", web, route(`"PathPrefix":"a"`, ``)),
		one("header-two", "two conditions for one header", "Header[0] should only contain one of", web, route(`"Header":[{"Name":"x","Exact":"1","Present":true}]`, ``)),
		one("header-none", "no condition for a header", "Header[0] should only contain one of", web, route(`"Header":[{"Name":"x"}]`, ``)),
		one("query-none", "no condition for a parameter", "QueryParam[0] should only contain one of", web, route(`"QueryParam":[{"Name":"x"}]`, ``)),
		one("method", "a method that nobody knows", "Methods contains an invalid method", web, route(`"Methods":["BREW"]`, ``)),
		one("rewrite-regex", "a rewrite without a path or prefix", "cannot make use of PrefixRewrite", web, route(`"PathRegex":"/a"`, `"PrefixRewrite":"/b"`)),
		one("retry-on", "a condition that nobody knows", "contains an invalid retry condition", web, route(`"PathPrefix":"/"`, `"RetryOn":["sometimes"]`)),
		one("subset", "a route to a subset that is not there", "does not have a subset named", web, route(`"PathPrefix":"/"`, `"ServiceSubset":"v9"`)),
		one("default-subset", "a default subset that is not there", "is not a valid subset", resolver("web", `"DefaultSubset":"v9"`)),
		one("failover-subset", "failover for a subset that is not there", "not a valid subset", resolver("web", `"Failover":{"v9":{"Service":"{a}"}}`)),
		one("failover-nothing", "failover to nobody", "or Datacenters is required", resolver("web", `"Failover":{"*":{}}`)),
		one("failover-both", "failover with a list and with a service", "Targets cannot be set with Service", resolver("web", `"Failover":{"*":{"Service":"{a}","Targets":[{"Service":"{a}"}]}}`)),
		one("redirect-loop", "a redirect that comes back", "detected circular resolver redirect", resolver("a", `"Redirect":{"Service":"{web}"}`), resolver("web", `"Redirect":{"Service":"{a}"}`)),
		one("redirect-empty", "a redirect to nowhere", "Redirect is empty", resolver("web", `"Redirect":{}`)),
		one("splitter-loop", "splitters that lead to each other", "detected circular reference", protocol("http", "web", "a"),
			splitter("a", `{"Weight":100,"Service":"{web}"}`), splitter("web", `{"Weight":100,"Service":"{a}"}`)),
		one("protocols", "services of different protocols in one chain", "uses inconsistent protocols", protocol("http", "web"), protocol("grpc", "a"), route(`"PathPrefix":"/"`, `"Service":"{a}"`)),
		one("protocol-change", "a protocol that its routes cannot have", "does not permit advanced routing or splitting", web, route(`"PathPrefix":"/"`, ``), protocol("tcp", "web")),
		one("filter", "a filter that does not parse", "is not a valid expression", resolver("web", `"Subsets":{"v1":{"Filter":"Service.Meta.version ="}}`)),
		one("connect-timeout", "a negative connect timeout", "Bad ConnectTimeout", resolver("web", `"ConnectTimeout":"-1s"`)),
		one("request-timeout", "a negative request timeout of a resolver", "Bad RequestTimeout", resolver("web", `"RequestTimeout":"-1s"`)),
		one("hash-round-robin", "a key for a balancer that does not hash", "HashPolicies specified for non-hash-based Policy", resolver("web", `"LoadBalancer":{"Policy":"round_robin","HashPolicies":[{"SourceIP":true}]}`)),
		one("hash-field", "a key made of nothing known", "is not a supported field", resolver("web", `"LoadBalancer":{"Policy":"maglev","HashPolicies":[{"Field":"moon","FieldValue":"x"}]}`)),
		one("hash-cookie", "a cookie for the session with a time to live", "a session cookie cannot have an associated TTL",
			resolver("web", `"LoadBalancer":{"Policy":"maglev","HashPolicies":[{"Field":"cookie","FieldValue":"x","CookieConfig":{"Session":true,"TTL":"1s"}}]}`)),
		one("balancer", "a balancer that nobody knows", "is not supported", resolver("web", `"LoadBalancer":{"Policy":"best"}`)),
		one("external-sni", "failover of a service with ExternalSNI", "cannot define failover for external services", `{"Kind":"service-defaults","Name":"{web}","ExternalSNI":"x.example.com"}`,
			resolver("web", `"Failover":{"*":{"Service":"{a}"}}`)),
		one("locality", "failover by locality, which is for the enterprise", "requires Consul Enterprise",
			resolver("web", `"Failover":{"*":{"Service":"{a}","Policy":{"Mode":"order-by-locality"}}}`)),
		one("rate-limits", "rate limits, which are for the enterprise", "enterprise feature",
			`{"Kind":"service-defaults","Name":"{web}","RateLimits":{"InstanceLevel":{"RequestsPerSecond":5}}}`),
		one("unknown-field", "a field that nobody knows", "invalid config key", `{"Kind":"service-defaults","Name":"{web}","Protocoll":"http"}`),
		one("protocol", "a protocol that nobody knows", "invalid value for protocol", `{"Kind":"service-defaults","Name":"{web}","Protocol":"smoke"}`),
	}
}
