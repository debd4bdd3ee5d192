package parity

// global is about entries that every service feels.
func global() []Scenario {
	toWeb := []Try{{Request: get("/"), To: "web"}}
	proxy := func(fields string) string { return `{"Kind":"proxy-defaults","Name":"global",` + fields + `}` }
	http := proxy(`"Config":{"protocol":"http"}`)
	return []Scenario{
		{
			Name: "global-protocol", Why: "a protocol for services that say nothing", Alone: true,
			Entries: []string{http}, Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "global-protocol-routes", Why: "then they have routes, too", Alone: true,
			Entries: []string{http, router(`{"Match":{"HTTP":{"PathPrefix":"/a"}},"Destination":{"Service":"{a}"}}`)}, Instances: each("web", "a"),
			Tries: []Try{{Request: get("/a"), To: "a"}, {Request: get("/"), Route: 1, To: "web"}},
		},
		{
			Name: "global-protocol-shadowed", Why: "service-defaults without a protocol hide it from the chain, but not from the sidecar", Alone: true,
			Entries:   []string{http, `{"Kind":"service-defaults","Name":"{web}","Meta":{"a":"b"}}`},
			Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "global-protocol-own", Why: "the service's own protocol wins", Alone: true,
			Entries: append([]string{http}, protocol("grpc", "web")...), Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "global-config", Why: "what else the config says is about the caller's proxy, not about its upstreams", Alone: true,
			Entries: []string{proxy(`"Config":{"protocol":"http","connect_timeout_ms":123,"local_connect_timeout_ms":456,` +
				`"limits":{"max_connections":1},"passive_health_check":{"max_failures":1}},"Meta":{"team":"x"}`)},
			Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "global-caller", Why: "the caller's overrides come after the global protocol", Alone: true,
			Entries: []string{http, `{"Kind":"service-defaults","Name":"{caller}","UpstreamConfig":{"Defaults":{"Limits":{"MaxConnections":3}},` +
				`"Overrides":[{"Name":"{web}","Protocol":"grpc","ConnectTimeoutMs":77}]}}`},
			Instances: each("web"), Tries: toWeb,
		},
		{
			Name: "global-tls", Why: "the mesh's TLS versions and ciphers for requests that go out", Alone: true,
			Entries: []string{`{"Kind":"mesh","TLS":{"Outgoing":{"TLSMinVersion":"TLSv1_2","TLSMaxVersion":"TLSv1_2",` +
				`"CipherSuites":["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]},"Incoming":{"TLSMinVersion":"TLSv1_3"}}}`},
			Instances: each("web"),
		},
	}
}
