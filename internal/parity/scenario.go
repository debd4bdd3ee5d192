package parity

import (
	"net/http"
	"regexp"
	"strings"
)

// Scenario is a combination of config entries, the instances that they speak of,
// and requests to try.
//
// Names of services are written as {web} and end in the scenario's own name, so
// that one Consul serves all scenarios at once.
type Scenario struct {
	// Name is unique, in lower case.
	Name string
	// Why says in one line what there is to see.
	Why string
	// Entries are config entries in JSON, written in this order.
	Entries []string
	// Instances are those in the catalog.
	Instances []Instance
	// Service is the one asked about. Default "web".
	Service string
	// Config is that of the upstream in the caller's registration, see [Question].
	Config map[string]any
	// Tries are requests with what becomes of them. Nil for tcp.
	Tries []Try
	// Unusable is a part of what [Upstream.Evaluate] says to what Consul takes but
	// Envoy does not.
	Unusable string
	// Unsupported is the field that innermesh does not act on: it has to refuse the
	// whole, with this name.
	Unsupported string
	// Refused is a part of what Consul says to the last entry, which it must not
	// take. Empty: it takes them all.
	Refused string
	// Alone is set if an entry is about more than the scenario's own services.
	Alone bool
}

// Instance is a native instance of a service.
type Instance struct {
	// Service is the name without braces.
	Service string
	// Version becomes the Meta of that name.
	Version string
	Tags    []string
	// Health is "passing" by default, "warning" or "critical".
	Health string
	// Passing and Warning are its weights. Default 1 each; -1 is 0.
	Passing, Warning int
	// Datacenter is "dc1" by default, or "dc2".
	Datacenter string
	// WAN is the address "host:port" for callers from another datacenter. Default:
	// it has none of its own.
	WAN string
	// Sidecar says that the instance is not native: a proxy stands before it, on
	// the port 1000 higher.
	Sidecar bool
}

// Try is a request and what the documented rules make of it, known by hand.
type Try struct {
	Request Request
	// Route is the index of the route, as in [Decision].
	Route int
	// Path is what the instance sees. Default: what was asked.
	Path string
	// To has the targets without their default parts, as in "v1.web" or
	// "v1.web 99.99 + v2.web 0.01" with shares in percent.
	To string
}

// Caller is the name of the calling service in every scenario.
const Caller = "caller"

// Question is what to ask the oracle.
func (s Scenario) Question() Question {
	return Question{Caller: s.name(Caller), Service: s.name(s.service()), Config: s.Config}
}

// Plain turns a target of the scenario into how [Try] writes it.
func (s Scenario) Plain(target string) string {
	target = strings.ReplaceAll(target, "-"+s.Name, "")
	return strings.ReplaceAll(strings.TrimSuffix(target, ".default.default.dc1"), ".default.default.dc", "@dc")
}

func (s Scenario) service() string {
	if s.Service == "" {
		return "web"
	}
	return s.Service
}

// name is that of a service in the catalog.
func (s Scenario) name(service string) string { return service + "-" + s.Name }

var braces = regexp.MustCompile(`\{([a-z][a-z0-9]*)\}`)

// spell puts names for braces.
func (s Scenario) spell(entry string) string { return braces.ReplaceAllString(entry, "$1-"+s.Name) }

// Scenarios returns the whole table.
func Scenarios() []Scenario {
	var all []Scenario
	for _, part := range [][]Scenario{
		routerMatches(), routerActions(), splitters(), resolvers(), failovers(), balancers(), defaults(), global(), combined(), refused(),
	} {
		all = append(all, part...)
	}
	return all
}

// protocol is the service-defaults of services that speak it.
func protocol(name string, services ...string) (entries []string) {
	for _, s := range services {
		entries = append(entries, `{"Kind":"service-defaults","Name":"{`+s+`}","Protocol":"`+name+`"}`)
	}
	return entries
}

// each is one healthy instance of every service; "web@v1" is of that version.
func each(services ...string) (list []Instance) {
	for _, s := range services {
		name, version, _ := strings.Cut(s, "@")
		list = append(list, Instance{Service: name, Version: version})
	}
	return list
}

// versions is the resolver with subsets v1, v2 and so on by the version of the
// instances; more is put behind.
func versions(service, more string, subsets ...string) string {
	var list []string
	for _, v := range subsets {
		list = append(list, `"`+v+`":{"Filter":"Service.Meta.version == `+v+`"}`)
	}
	return `{"Kind":"service-resolver","Name":"{` + service + `}","Subsets":{` + strings.Join(list, ",") + `}` + more + `}`
}

func resolver(service, fields string) string {
	return `{"Kind":"service-resolver","Name":"{` + service + `}",` + fields + `}`
}

func router(routes ...string) string {
	return `{"Kind":"service-router","Name":"{web}","Routes":[` + strings.Join(routes, ",") + `]}`
}

func splitter(service string, splits ...string) string {
	return `{"Kind":"service-splitter","Name":"{` + service + `}","Splits":[` + strings.Join(splits, ",") + `]}`
}

// entries joins single ones and lists of them.
func entries(list ...any) (out []string) {
	for _, e := range list {
		switch e := e.(type) {
		case string:
			out = append(out, e)
		case []string:
			out = append(out, e...)
		}
	}
	return out
}

func get(path string, header ...string) Request {
	r := Request{Path: path}
	for i := 0; i+1 < len(header); i += 2 {
		if r.Header == nil {
			r.Header = http.Header{}
		}
		r.Header.Add(header[i], header[i+1])
	}
	return r
}
