package main

const edge = "innermesh_source,innermesh_service"

// overview is the mesh as a whole: who calls whom, and what is going wrong.
func overview() page {
	const all, each = `innermesh_source=~"$source"`, "{{innermesh_source}} → {{innermesh_service}}"
	return page{
		uid: "innermesh-overview", title: "innermesh: overview",
		about:   "Who calls whom in the mesh, how fast and how well, and what is going wrong anywhere.",
		choices: []choice{{"source", "Calling service", "label_values(innermesh_client_attempts_total, innermesh_source)"}},
		rows: []row{
			{"Now", []panel{
				{title: "Calls", unit: "reqps", number: true, queries: []query{{"sum(" + calls(outgoing, all, edge) + ")", ""}}},
				{title: "Calls that fail", unit: "percentunit", number: true, help: "Of all calls, retries and hedges having been tried.",
					queries: []query{{"sum(" + calls(outgoing, all+`,error_type!=""`, edge) + ") / sum(" + calls(outgoing, all, edge) + ")", ""}}},
				{title: "Attempts per call", unit: "short", number: true, help: "More than 1.2 is a storm of retries.",
					queries: []query{{`sum(rate(innermesh_client_attempts_total{` + all + `}[$__rate_interval])) / sum(rate(innermesh_client_attempts_total{innermesh_kind="first",` + all + `}[$__rate_interval]))`, ""}}},
				{title: "Breakers open", unit: "short", number: true, queries: []query{{`sum(innermesh_breaker_instances{innermesh_state!="closed",` + all + `})`, ""}}},
				{title: "Documents refused", unit: "short", number: true, help: "Somebody has written what can not be obeyed; an older state is in force.",
					queries: []query{{`sum(innermesh_config_refused{` + all + `})`, ""}}},
			}},
			{"Traffic", []panel{
				{title: "Calls a second", unit: "reqps", stacked: true, queries: []query{{calls(outgoing, all, edge), each}}},
				{title: "Part of the calls that fails", unit: "percentunit", queries: []query{{failures(outgoing, all, edge), each}}},
				{title: "p99", unit: "s", help: "All attempts and waiting included.", queries: []query{{quantile(0.99, outgoing, all, edge), each}}},
			}},
			{"Resilience", []panel{
				{title: "Retries by what went wrong", unit: "reqps", stacked: true,
					queries: []query{{perSecond("innermesh_client_retries_total", all, "innermesh_service,innermesh_reason"), "{{innermesh_service}}: {{innermesh_reason}}"}}},
				{title: "Retries that were not made", unit: "reqps", stacked: true, help: "budget: too much fails for retries to help.",
					queries: []query{{perSecond("innermesh_client_retry_refusals_total", all, "innermesh_service,innermesh_reason"), "{{innermesh_service}}: {{innermesh_reason}}"}}},
				{title: "Ejections and breakers", unit: "short", queries: []query{
					{`sum by (innermesh_service) (increase(innermesh_ejections_total{` + all + `}[$__rate_interval]))`, "ejected {{innermesh_service}}"},
					{`sum by (innermesh_service) (increase(innermesh_breaker_changes_total{innermesh_state="open",` + all + `}[$__rate_interval]))`, "opened {{innermesh_service}}"},
				}},
			}},
			{"Configuration", []panel{
				{title: "Documents taken and refused", unit: "short",
					queries: []query{{`sum by (innermesh_source,innermesh_result) (increase(innermesh_config_updates_total{` + all + `}[$__rate_interval]))`, "{{innermesh_source}} {{innermesh_result}}"}}},
				{title: "Silence of its sources", unit: "s", help: "What they said last is obeyed meanwhile.",
					queries: []query{{`max by (innermesh_source,innermesh_subject) (innermesh_config_silence_seconds{` + all + `})`, "{{innermesh_source}}: {{innermesh_subject}}"}}},
				{title: "Trouble made on purpose", unit: "reqps", help: "Injections: a drill, not a ghost.",
					queries: []query{{perSecond("innermesh_client_injections_total", all, "innermesh_service,innermesh_injected"), "{{innermesh_service}}: {{innermesh_injected}}"}}},
			}},
		},
	}
}
