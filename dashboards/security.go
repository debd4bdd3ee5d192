package main

// security is who is who, who may, and who was turned away.
func security() page {
	const one, each = `innermesh_source=~"$service"`, "{{innermesh_source}}: {{innermesh_reason}}"
	return page{
		uid: "innermesh-security", title: "innermesh: security",
		about:   "Certificates, handshakes, decisions about access.",
		choices: []choice{{"service", "Service", "label_values(innermesh_tls_expiry_seconds, innermesh_source)"}},
		rows: []row{
			{"Identity", []panel{
				{title: "Certificates last", unit: "s", help: "The one that ends first, of each service.", queries: []query{{`min by (innermesh_source) (innermesh_tls_expiry_seconds{` + one + `})`, "{{innermesh_source}}"}}},
				{title: "Handshakes refused", unit: "reqps", stacked: true, queries: []query{{perSecond("innermesh_tls_refusals_total", one, "innermesh_source,innermesh_role,innermesh_reason"), "{{innermesh_source}} as {{innermesh_role}}: {{innermesh_reason}}"}}},
				{title: "Connections in plain text", unit: "reqps", stacked: true, help: "Let in while the mode is permissive.", queries: []query{{perSecond("innermesh_tls_plaintext_total", one, "innermesh_source"), "{{innermesh_source}}"}}},
			}},
			{"Access", []panel{
				{title: "Decisions", unit: "reqps", stacked: true, queries: []query{{perSecond("innermesh_authz_decisions_total", one, "innermesh_source,innermesh_result"), "{{innermesh_source}}: {{innermesh_result}}"}}},
				{title: "Why", unit: "reqps", stacked: true, queries: []query{{perSecond("innermesh_authz_decisions_total", one, "innermesh_source,innermesh_reason"), each}}},
				{title: "Turned away", unit: "reqps", stacked: true, queries: []query{{perSecond("innermesh_server_refused_total", one+`,innermesh_reason=~"denied|unauthenticated"`, "innermesh_source,innermesh_reason"), each}}},
			}},
		},
	}
}
