package main

// dependency is a service as its callers see it, down to the state of its
// instances.
func dependency() page {
	const pair, target = `innermesh_source=~"$source",innermesh_service=~"$service"`, "innermesh_destination,innermesh_subset"
	return page{
		uid: "innermesh-dependency", title: "innermesh: dependency",
		about: "A service as its callers see it: golden signals, attempts, instances, limits.",
		choices: []choice{
			{"source", "Calling service", "label_values(innermesh_client_attempts_total, innermesh_source)"},
			{"service", "Called service", `label_values(innermesh_client_attempts_total{innermesh_source=~"$source"}, innermesh_service)`},
		},
		rows: []row{
			{"Golden signals", []panel{
				{title: "Traffic by route", unit: "reqps", stacked: true, queries: []query{{calls(outgoing, pair, "innermesh_service,innermesh_route"), "{{innermesh_service}} {{innermesh_route}}"}}},
				{title: "Errors by kind", unit: "reqps", stacked: true, queries: []query{{calls(outgoing, pair+`,error_type!=""`, "innermesh_service,error_type"), "{{innermesh_service}}: {{error_type}}"}}},
				{title: "Latency", unit: "s", queries: latencies(outgoing, pair)},
				{title: "Attempts under way", unit: "short", queries: []query{{now("innermesh_client_inflight", pair, "innermesh_service"), "{{innermesh_service}}"}}},
			}},
			{"Versions", []panel{
				{title: "Where calls go", unit: "reqps", stacked: true, help: "The shares of canaries and failovers.", queries: []query{{calls(outgoing, pair, target), "{{innermesh_destination}} {{innermesh_subset}}"}}},
				{title: "Errors by version", unit: "percentunit", queries: []query{{failures(outgoing, pair, target), "{{innermesh_destination}} {{innermesh_subset}}"}}},
				{title: "p99 by version", unit: "s", queries: []query{{quantile(0.99, outgoing, pair, target), "{{innermesh_destination}} {{innermesh_subset}}"}}},
				{title: "Copies for mirrors", unit: "reqps", stacked: true, queries: []query{{perSecond("innermesh_client_mirrored_total", pair, "innermesh_destination,innermesh_result"), "{{innermesh_destination}}: {{innermesh_result}}"}}},
			}},
			{"Attempts", []panel{
				{title: "First, retries and hedges", unit: "reqps", stacked: true, queries: []query{{perSecond("innermesh_client_attempts_total", pair, "innermesh_kind"), "{{innermesh_kind}}"}}},
				{title: "How attempts end", unit: "reqps", stacked: true, queries: []query{{perSecond("innermesh_client_attempts_total", pair, "innermesh_reason"), "{{innermesh_reason}}"}}},
				{title: "Retry budget left", unit: "short", help: "At zero nothing is tried again.",
					queries: []query{{`min by (innermesh_source,innermesh_service) (innermesh_client_retry_budget{` + pair + `})`, "{{innermesh_source}} → {{innermesh_service}}"}}},
			}},
			{"Instances", []panel{
				{title: "Instances by state", unit: "short", stacked: true, queries: []query{{`max by (` + target + `,innermesh_state) (innermesh_client_instances{` + pair + `})`, "{{innermesh_destination}} {{innermesh_subset}}: {{innermesh_state}}"}}},
				{title: "Breakers by state", unit: "short", stacked: true, queries: []query{{`max by (` + target + `,innermesh_state) (innermesh_breaker_instances{` + pair + `})`, "{{innermesh_destination}} {{innermesh_subset}}: {{innermesh_state}}"}}},
				{title: "Ejections by cause", unit: "short", queries: []query{{`sum by (innermesh_destination,innermesh_cause) (increase(innermesh_ejections_total{` + pair + `}[$__rate_interval]))`, "{{innermesh_destination}}: {{innermesh_cause}}"}}},
				{title: "Connections", unit: "short", stacked: true, help: "Of all callers together.", queries: []query{{now("innermesh_client_connections", pair, "innermesh_destination,innermesh_state"), "{{innermesh_destination}}: {{innermesh_state}}"}}},
			}},
			{"Limits", []panel{
				{title: "Places taken", unit: "percentunit", queries: []query{{`sum by (innermesh_destination,innermesh_limit) (innermesh_client_limit_used{` + pair + `}) / sum by (innermesh_destination,innermesh_limit) (innermesh_client_limit_max{` + pair + `})`, "{{innermesh_destination}}: {{innermesh_limit}}"}}},
				{title: "Calls in line", unit: "short", queries: []query{{now("innermesh_client_limit_queued", pair, "innermesh_destination,innermesh_limit"), "{{innermesh_destination}}: {{innermesh_limit}}"}}},
				{title: "Time in line, p99", unit: "s", queries: []query{{`histogram_quantile(0.99, sum by (le,innermesh_destination) (rate(innermesh_client_queue_duration_seconds_bucket{` + pair + `}[$__rate_interval])))`, "{{innermesh_destination}}"}}},
				{title: "Kept back", unit: "reqps", stacked: true, queries: []query{{perSecond("innermesh_client_shed_total", pair, "innermesh_destination,innermesh_limit"), "{{innermesh_destination}}: {{innermesh_limit}}"}}},
			}},
		},
	}
}
