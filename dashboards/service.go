package main

// service is one program as the others see it: what comes in and how it bears it.
func service() page {
	const one = `innermesh_source=~"$service"`
	return page{
		uid: "innermesh-service", title: "innermesh: service",
		about:   "What comes in to a service, how it is answered, and what is turned away.",
		choices: []choice{{"service", "Service", "label_values(innermesh_server_inflight, innermesh_source)"}},
		rows: []row{
			{"Golden signals", []panel{
				{title: "Traffic", unit: "reqps", stacked: true, queries: []query{{calls(incoming, one, "innermesh_source"), "{{innermesh_source}}"}}},
				{title: "Errors", unit: "percentunit", help: "What is the service's own fault.", queries: []query{{failures(incoming, one, "innermesh_source"), "{{innermesh_source}}"}}},
				{title: "Latency", unit: "s", queries: latencies(incoming, one)},
				{title: "Saturation: calls being served", unit: "short", queries: []query{{now("innermesh_server_inflight", one, "innermesh_source"), "{{innermesh_source}}"}}},
			}},
			{"By what is asked for", []panel{
				{title: "HTTP by pattern", unit: "reqps", stacked: true,
					queries: []query{{perSecond("http_server_request_duration_seconds_count", one, "innermesh_source,http_request_method,http_route"), "{{http_request_method}} {{innermesh_source}}{{http_route}}"}}},
				{title: "gRPC by method", unit: "reqps", stacked: true,
					queries: []query{{perSecond("rpc_server_call_duration_seconds_count", one, "rpc_method"), "{{rpc_method}}"}}},
				{title: "Answers", unit: "reqps", stacked: true, queries: []query{
					{perSecond("http_server_request_duration_seconds_count", one, "http_response_status_code"), "{{http_response_status_code}}"},
					{perSecond("rpc_server_call_duration_seconds_count", one, "rpc_response_status_code"), "{{rpc_response_status_code}}"},
				}},
			}},
			{"What did not reach a handler", []panel{
				{title: "Turned away", unit: "reqps", stacked: true,
					queries: []query{{perSecond("innermesh_server_refused_total", one, "innermesh_source,innermesh_reason"), "{{innermesh_source}}: {{innermesh_reason}}"}}},
				{title: "Requests with an idempotency key", unit: "reqps", stacked: true,
					queries: []query{{perSecond("innermesh_idempotency_requests_total", one, "innermesh_result"), "{{innermesh_result}}"}}},
			}},
		},
	}
}
