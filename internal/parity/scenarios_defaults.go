package parity

// defaults is about the service-defaults of the service and of its caller.
func defaults() []Scenario {
	web := protocol("http", "web")
	toWeb := []Try{{Request: get("/"), To: "web"}}
	// caller is the service-defaults of the caller with that UpstreamConfig.
	caller := func(fields string) string {
		return `{"Kind":"service-defaults","Name":"{caller}","Protocol":"http","UpstreamConfig":{` + fields + `}}`
	}
	limits := `"Limits":{"MaxConnections":10,"MaxPendingRequests":20,"MaxConcurrentRequests":30}`
	health := `"PassiveHealthCheck":{"Interval":"3s","MaxFailures":4,"EnforcingConsecutive5xx":50,"MaxEjectionPercent":60,"BaseEjectionTime":"7s"}`
	return []Scenario{
		{Name: "protocol-http2", Why: "HTTP/2 on both sides", Entries: protocol("http2", "web"), Instances: each("web"), Tries: toWeb},
		{Name: "protocol-grpc", Why: "gRPC on both sides", Entries: protocol("grpc", "web"), Instances: each("web"), Tries: toWeb},
		{Name: "protocol-tcp", Why: "tcp by name", Entries: protocol("tcp", "web"), Instances: each("web")},
		{
			Name: "protocol-grpc-routes", Why: "methods of gRPC are paths; retries by status",
			Entries: entries(protocol("grpc", "web", "a"), router(`{"Match":{"HTTP":{"PathExact":"/shop.Orders/Get"}},`+
				`"Destination":{"Service":"{a}","NumRetries":2,"RetryOn":["unavailable"],"RequestTimeout":"2s"}}`)),
			Instances: each("web", "a"),
			Tries:     []Try{{Request: get("/shop.Orders/Get"), To: "a"}, {Request: get("/shop.Orders/Put"), Route: 1, To: "web"}},
		},
		{
			Name: "protocol-override-tcp", Why: "a caller that takes the service for a tcp one has neither routes nor splits",
			Entries: entries(protocol("http", "web", "a"), caller(`"Overrides":[{"Name":"{web}","Protocol":"tcp"}]`),
				splitter("web", `{"Weight":50}`, `{"Weight":50,"Service":"{a}"}`),
				router(`{"Match":{"HTTP":{"PathPrefix":"/"}},"Destination":{"Service":"{a}"}}`)),
			Instances: each("web", "a"),
		},
		{
			Name: "protocol-override-http", Why: "a caller that takes a tcp service for an http one",
			Entries: entries(caller(`"Overrides":[{"Name":"{web}","Protocol":"http"}]`)), Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "protocol-override-grpc", Why: "a caller that takes an http service for a grpc one keeps its routes",
			Entries: entries(protocol("http", "web", "a"), caller(`"Overrides":[{"Name":"{web}","Protocol":"grpc"}]`),
				router(`{"Match":{"HTTP":{"PathPrefix":"/a"}},"Destination":{"Service":"{a}"}}`)),
			Instances: each("web", "a"), Tries: []Try{{Request: get("/a"), To: "a"}, {Request: get("/"), Route: 1, To: "web"}},
		},
		{
			Name: "protocol-config", Why: "what the caller's registration says of the upstream wins",
			Entries: entries(protocol("http", "web"), caller(`"Defaults":{"Protocol":"tcp"}`)), Instances: each("web"),
			Config: map[string]any{"protocol": "http2"}, Tries: toWeb,
		},
		{
			Name: "limits-defaults", Why: "limits for all upstreams",
			Entries: entries(web, caller(`"Defaults":{`+limits+`}`)), Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "limits-some", Why: "limits that are not said are Envoy's",
			Entries: entries(web, caller(`"Defaults":{"Limits":{"MaxPendingRequests":7}}`)), Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "limits-zero", Why: "a limit of 0 lets nothing through",
			Entries:   entries(web, caller(`"Defaults":{"Limits":{"MaxConnections":0,"MaxPendingRequests":0,"MaxConcurrentRequests":0}}`)),
			Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "limits-override", Why: "limits for one upstream replace those for all, as a whole",
			Entries:   entries(web, caller(`"Defaults":{`+limits+`},"Overrides":[{"Name":"{web}","Limits":{"MaxConnections":5}}]`)),
			Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "limits-other", Why: "an override for another upstream is not for this one",
			Entries:   entries(web, caller(`"Overrides":[{"Name":"{a}","Limits":{"MaxConnections":5},"ConnectTimeoutMs":100}]`)),
			Instances: each("web", "a"), Tries: toWeb,
		},
		{
			Name: "limits-service", Why: "UpstreamConfig of the service that is called is about its own upstreams",
			Entries:   []string{`{"Kind":"service-defaults","Name":"{web}","Protocol":"http","UpstreamConfig":{"Defaults":{` + limits + `}}}`},
			Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "limits-levels", Why: "limits and ejection are the same on every level of failover",
			Entries:   entries(protocol("http", "web", "a"), caller(`"Defaults":{`+limits+`,`+health+`}`), resolver("web", `"Failover":{"*":{"Service":"{a}"}}`)),
			Instances: each("web", "a"), Tries: toWeb,
		},
		{
			Name: "limits-legs", Why: "an override by the name of the upstream reaches what its routes lead to",
			Entries: entries(protocol("http", "web", "a"), caller(`"Overrides":[{"Name":"{web}",`+limits+`}]`),
				splitter("web", `{"Weight":50}`, `{"Weight":50,"Service":"{a}"}`)),
			Instances: each("web", "a"), Tries: []Try{{Request: get("/"), To: "web 50 + a 50"}},
		},
		{
			Name: "ejection-defaults", Why: "passive health checks for all upstreams",
			Entries: entries(web, caller(`"Defaults":{`+health+`}`)), Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "ejection-override", Why: "passive health checks for one upstream replace those for all, as a whole",
			Entries:   entries(web, caller(`"Defaults":{`+health+`},"Overrides":[{"Name":"{web}","PassiveHealthCheck":{"MaxFailures":9}}]`)),
			Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "ejection-off", Why: "0 turns ejection off",
			Entries:   entries(web, caller(`"Defaults":{"PassiveHealthCheck":{"MaxFailures":3,"EnforcingConsecutive5xx":0,"MaxEjectionPercent":0}}`)),
			Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "connect-override", Why: "the caller's connect timeout comes before that of the resolver",
			Entries: entries(web, resolver("web", `"ConnectTimeout":"2s"`),
				caller(`"Defaults":{"ConnectTimeoutMs":1111},"Overrides":[{"Name":"{web}","ConnectTimeoutMs":250}]`)),
			Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "connect-defaults", Why: "the caller's connect timeout for all upstreams, also with failover",
			Entries:   entries(protocol("http", "web", "a"), resolver("web", `"Failover":{"*":{"Service":"{a}"}}`), caller(`"Defaults":{"ConnectTimeoutMs":1111}`)),
			Instances: each("web", "a"), Tries: toWeb,
		},
		{
			Name: "config-limits", Why: "limits, ejection and connect timeout in the caller's registration",
			Entries: entries(web, caller(`"Defaults":{`+limits+`}`)), Instances: each("web"),
			Config: map[string]any{
				"connect_timeout_ms": 333, "limits": map[string]any{"max_connections": 1},
				"passive_health_check": map[string]any{"max_failures": 2},
			},
			Tries: toWeb,
		},
		{
			Name: "inbound-only", Why: "what is about requests that come in changes nothing for a caller",
			Entries: []string{`{"Kind":"service-defaults","Name":"{web}","Protocol":"http","MaxInboundConnections":3,"LocalConnectTimeoutMs":100,` +
				`"LocalRequestTimeoutMs":200,"MaxRequestHeadersKB":16,"BalanceInboundConnections":"exact_balance","MutualTLSMode":"strict"}`},
			Instances: each("web"), Tries: toWeb,
		},
	}
}
