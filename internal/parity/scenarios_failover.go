package parity

import "strings"

// failovers is about who takes over.
func failovers() []Scenario {
	web := protocol("http", "web")
	two := protocol("http", "web", "a")
	dc2 := Instance{Service: "web", Datacenter: "dc2"}
	return []Scenario{
		{
			Name: "failover-service", Why: "another service takes over",
			Entries: entries(two, resolver("web", `"Failover":{"*":{"Service":"{a}"}}`)), Instances: each("web", "a"),
			Tries: []Try{{Request: get("/"), To: "web"}},
		},
		{
			Name: "failover-subset", Why: "one subset takes over from another, the other way round nobody does",
			Entries: entries(web, versions("web", `,"DefaultSubset":"v1","Failover":{"v1":{"ServiceSubset":"v2"}}`, "v1", "v2"),
				router(`{"Match":{"HTTP":{"PathPrefix":"/2"}},"Destination":{"ServiceSubset":"v2"}}`)),
			Instances: each("web@v1", "web@v2"),
			Tries:     []Try{{Request: get("/2"), To: "v2.web"}, {Request: get("/"), Route: 1, To: "v1.web"}},
		},
		{
			Name: "failover-star", Why: "* is for the subsets that have no line of their own",
			Entries: entries(two, versions("web", `,"Failover":{"v1":{"ServiceSubset":"v2"},"*":{"Service":"{a}"}}`, "v1", "v2"),
				splitter("web", `{"Weight":50,"ServiceSubset":"v1"}`, `{"Weight":30,"ServiceSubset":"v2"}`, `{"Weight":20}`)),
			Instances: each("web@v1", "web@v2", "a"),
			Tries:     []Try{{Request: get("/"), To: "v1.web 50 + v2.web 30 + web 20"}},
		},
		{
			Name: "failover-datacenters", Why: "the same service elsewhere takes over; one datacenter cannot be reached",
			Entries:   entries(web, resolver("web", `"Failover":{"*":{"Datacenters":["dc2","dc3"]}}`)),
			Instances: []Instance{{Service: "web"}, dc2, dc2},
			Tries:     []Try{{Request: get("/"), To: "web"}},
		},
		{
			Name: "failover-gateway", Why: "the other datacenter is only to be reached through its mesh gateways, of which there is none",
			Entries: entries(`{"Kind":"service-defaults","Name":"{web}","Protocol":"http","MeshGateway":{"Mode":"remote"}}`,
				resolver("web", `"Failover":{"*":{"Datacenters":["dc2"]}}`)),
			Instances: []Instance{{Service: "web"}, dc2}, Tries: []Try{{Request: get("/"), To: "web"}}, Unsupported: "MeshGateway",
		},
		{
			Name: "failover-service-datacenters", Why: "another service elsewhere takes over",
			Entries:   entries(two, resolver("web", `"Failover":{"*":{"Service":"{a}","Datacenters":["dc2"]}}`)),
			Instances: []Instance{{Service: "web"}, {Service: "a"}, {Service: "a", Datacenter: "dc2"}},
			Tries:     []Try{{Request: get("/"), To: "web"}},
		},
		{
			Name: "failover-targets", Why: "a list of targets of every kind, in order; the first one itself is left out",
			Entries: entries(two, versions("web", `,"DefaultSubset":"v1","Failover":{"v1":{"Targets":[
				{"ServiceSubset":"v2"},{"Service":"{a}"},{"ServiceSubset":"v1"},{"ServiceSubset":"v1","Datacenter":"dc2"},{"Service":"{a}","Datacenter":"dc2"}]}}`, "v1", "v2")),
			Instances: append(each("web@v1", "web@v2", "a"), Instance{Service: "web", Version: "v1", Datacenter: "dc2"}),
			Tries:     []Try{{Request: get("/"), To: "v1.web"}},
		},
		{
			Name: "failover-redirected", Why: "a target of failover is redirected, and has a default subset, but no failover of its own",
			Entries: entries(protocol("http", "web", "a", "b", "c"), versions("b", `,"DefaultSubset":"v1","Failover":{"*":{"Service":"{c}"}}`, "v1"),
				resolver("a", `"Redirect":{"Service":"{b}"}`), resolver("web", `"Failover":{"*":{"Service":"{a}"}}`)),
			Instances: each("web", "b@v1", "b@v2", "c"), Tries: []Try{{Request: get("/"), To: "web"}},
		},
		{
			Name: "failover-settings", Why: "all levels are used by the settings of the first",
			Entries: entries(two,
				resolver("a", `"ConnectTimeout":"9s","LoadBalancer":{"Policy":"random"}`),
				resolver("web", `"ConnectTimeout":"1s","LoadBalancer":{"Policy":"least_request","LeastRequestConfig":{"ChoiceCount":4}},"Failover":{"*":{"Service":"{a}"}}`)),
			Instances: each("web", "a"), Tries: []Try{{Request: get("/"), To: "web"}},
		},
		{
			Name: "failover-protocol", Why: "a target of failover for grpc is spoken to in HTTP/2",
			Entries:   entries(protocol("grpc", "web", "a"), resolver("web", `"Failover":{"*":{"Service":"{a}"}}`)),
			Instances: each("web", "a"), Tries: []Try{{Request: get("/"), To: "web"}},
		},
		{
			Name: "failover-tcp", Why: "connections fail over as well",
			Entries: entries(resolver("web", `"Failover":{"*":{"Service":"{a}"}}`)), Instances: each("web", "a"),
		},
		{
			Name: "failover-nobody-left", Why: "the first level has only critical instances, the second none at all",
			Entries:   entries(protocol("http", "web", "a", "b"), resolver("web", `"Failover":{"*":{"Targets":[{"Service":"{a}"},{"Service":"{b}"}]}}`)),
			Instances: []Instance{{Service: "web", Health: "critical"}, {Service: "b"}},
			Tries:     []Try{{Request: get("/"), To: "web"}},
		},
		{
			Name: "failover-retry-direct", Why: "a retry on a route straight to a resolver does not ask for another level",
			Entries: entries(two, resolver("web", `"Failover":{"*":{"Service":"{a}"}}`),
				router(`{"Match":{"HTTP":{"PathPrefix":"/"}},"Destination":{"NumRetries":2,"RetryOn":["5xx"]}}`)),
			Instances: each("web", "a"), Tries: []Try{{Request: get("/"), To: "web"}},
		},
		{
			Name: "failover-retry-split", Why: "a retry on a split asks for another level if a leg has failover",
			Entries: entries(two, versions("web", `,"Failover":{"v2":{"Service":"{a}"}}`, "v1", "v2"),
				splitter("web", `{"Weight":50,"ServiceSubset":"v1"}`, `{"Weight":50,"ServiceSubset":"v2"}`),
				router(`{"Match":{"HTTP":{"PathPrefix":"/"}},"Destination":{"NumRetries":2,"RetryOn":["5xx"]}}`)),
			Instances: each("web@v1", "web@v2", "a"), Tries: []Try{{Request: get("/"), To: "v1.web 50 + v2.web 50"}},
		},
		mix("seven-of-ten", "a level keeps all as long as 1/1.4 of it is healthy, and then what it can", 3, 1, 1, 0),
		mix("half", "half of a level is 70 % of the calls", 2, 1, 2, 0),
		mix("quarter", "a quarter of a level is 35 %, the next one takes the rest", 4, 3, 2, 1),
		mix("three-levels", "three levels that can carry everything together", 4, 3, 4, 3, 2, 1),
		mix("too-few", "levels that can not carry everything together share it by what is healthy", 4, 3, 2, 1, 3, 3),
		mix("first-gone", "a level without anybody healthy gets nothing", 2, 2, 3, 0),
		mix("panic", "all levels are nearly gone (a sidecar shares by numbers then, and fails calls)", 4, 4, 3, 2),
	}
}

// mix is a failover over levels, each of which has so many instances, of which
// so many are critical.
func mix(name, why string, counts ...int) Scenario {
	names := []string{"web", "a", "b"}[:len(counts)/2]
	s := Scenario{Name: "failover-mix-" + name, Why: why, Tries: []Try{{Request: get("/"), To: "web"}}}
	var targets []string
	for i, service := range names {
		if i > 0 {
			targets = append(targets, `{"Service":"{`+service+`}"}`)
		}
		for n := range counts[2*i] {
			in := Instance{Service: service}
			if n < counts[2*i+1] {
				in.Health = "critical"
			}
			s.Instances = append(s.Instances, in)
		}
	}
	s.Entries = entries(protocol("http", names...), resolver("web", `"Failover":{"*":{"Targets":[`+strings.Join(targets, ",")+`]}}`))
	return s
}
