package consul

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/innermesh/innermesh/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each sample is an answer of a real Consul. Its golden is the policy that comes
// of it, or why it is refused.
func TestSamples(t *testing.T) {
	samples, err := filepath.Glob("testdata/chains/*.json")
	if err != nil || len(samples) < 20 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	for _, sample := range samples {
		name := strings.TrimSuffix(filepath.Base(sample), ".json")
		t.Run(name, func(t *testing.T) {
			got := compiled(t, read(t, sample))
			golden := "testdata/policies/" + name + ".golden"
			if *update {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(read(t, golden)), string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func compiled(t *testing.T, body []byte) []byte {
	t.Helper()
	c, err := decodeChain(body)
	var s policy.Service
	if err == nil {
		s, err = compile(c, false)
	}
	if err != nil {
		return []byte("refused: " + err.Error() + "\n")
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	// What is compiled can be written down and read again.
	if again, err := policy.Decode(data, "golden"); err != nil {
		t.Error(err)
	} else if diff := cmp.Diff(s, again); diff != "" {
		t.Errorf("read again: %s", diff)
	}
	return append(data, '\n')
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// edited decodes and compiles a sample after some of its text was replaced.
func edited(t *testing.T, sample string, oldNew ...string) (policy.Service, error) {
	t.Helper()
	body := string(read(t, "testdata/chains/"+sample+".json"))
	for i := 0; i < len(oldNew); i += 2 {
		if !strings.Contains(body, oldNew[i]) {
			t.Fatalf("%s does not hold %s", sample, oldNew[i])
		}
		body = strings.ReplaceAll(body, oldNew[i], oldNew[i+1])
	}
	c, err := decodeChain([]byte(body))
	if err != nil {
		return policy.Service{}, err
	}
	return compile(c, false)
}

// What can not be obeyed is refused with the name of the field.
func TestRefused(t *testing.T) {
	const resolverKey = `"resolver:v1.web.default.default.dc1": {`
	for name, test := range map[string]struct {
		sample      string
		oldNew      []string
		want        string
		unsupported bool
	}{
		"no start":              {"04-splitter-subsets", []string{`"StartNode": "splitter`, `"StartNode": "gone`}, `StartNode: there is no node "gone:web`, false},
		"missing node":          {"04-splitter-subsets", []string{resolverKey, `"x": {`}, `.Splits[0].NextNode: there is no node "resolver:v1`, false},
		"missing target":        {"03-resolver-subsets", []string{`"Target": "v1.`, `"Target": "v9.`}, `.Resolver.Target: there is no target "v9.`, false},
		"null node":             {"01-default-tcp", []string{`"resolver:web.default.default.dc1": {`, `"resolver:web.default.default.dc1": null, "x": {`}, `StartNode: there is no node`, false},
		"type":                  {"03-resolver-subsets", []string{`"Type": "resolver"`, `"Type": "teleport"`}, `.Type: "teleport" is not router, splitter or resolver`, true},
		"loop":                  {"04-splitter-subsets", []string{`"NextNode": "resolver:v1.web.default.default.dc1"`, `"NextNode": "splitter:web.default.default"`}, `NextNode: leads to "splitter:web.default.default", a splitter: want a resolver`, false},
		"router after router":   {"06-router-full", []string{`"NextNode": "splitter:users.default.default"`, `"NextNode": "router:web.default.default"`}, `NextNode: leads to "router:web.default.default", a router`, false},
		"negative weight":       {"05-splitter-nested-flattened", []string{`"Weight": 16.67`, `"Weight": -16.67`}, `Splits[1].Weight: -16.67 is out of range`, false},
		"sum":                   {"05-splitter-nested-flattened", []string{`"Weight": 16.67`, `"Weight": 16.71`}, `Splits: weights add up to 100.05: want 100`, false},
		"protocol":              {"03-resolver-subsets", []string{`"Protocol": "http"`, `"Protocol": "quic"`}, `Chain.Protocol: "quic" is not`, true},
		"new field of a target": {"03-resolver-subsets", []string{`"ID":`, `"PrioritizeByLocality": {"Mode": "failover"}, "ID":`}, `Chain.Targets["v1.web.default.default.dc1"].PrioritizeByLocality: is a field that is not known`, true},
		"new field of a match":  {"06-router-full", []string{`"PathExact": "/exact"`, `"Hostname": "x", "PathExact": "/exact"`}, `.Definition.Match.HTTP.Hostname: is a field that is not known`, true},
		"new field of a chain":  {"01-default-tcp", []string{`"StartNode"`, `"Mirror": "x", "StartNode"`}, `Chain.Mirror: is a field that is not known`, true},
		"gateway":               {"09-failover-datacenters", []string{`"Mode": "local"`, `"Mode": "remote"`}, `.MeshGateway.Mode: "remote": calls to datacenter "dc2"`, true},
		"namespace":             {"03-resolver-subsets", []string{`"Namespace": "default"`, `"Namespace": "shop"`}, `.Namespace: "shop" is of Consul Enterprise`, true},
		"failover policy":       {"11-failover-service", []string{`"Failover": {`, `"Failover": {"Policy": {"Mode": "order-by-locality"},`}, `.Failover.Policy.Mode: "order-by-locality" is not sequential`, true},
		"failover regions":      {"11-failover-service", []string{`"Failover": {`, `"Failover": {"Regions": ["us"],`}, `.Failover.Regions: is a field that is not known`, true},
		"balancer":              {"03-resolver-subsets", []string{`"Policy": "ring_hash"`, `"Policy": "psychic"`}, `.LoadBalancer.Policy: "psychic" is not known`, true},
		"hash field":            {"03-resolver-subsets", []string{`"Field": "header"`, `"Field": "body"`}, `.HashPolicies[0].Field: "body" is not`, true},
		"ring":                  {"03-resolver-subsets", []string{`"MaximumRingSize": 8192`, `"MaximumRingSize": 512`}, `MinimumRingSize 1024 (the default is 1024) is above MaximumRingSize 512`, false},
		"duration":              {"03-resolver-subsets", []string{`"ConnectTimeout": "3s"`, `"ConnectTimeout": "soon"`}, `Resolver.ConnectTimeout: "soon" is not a duration`, false},
		"negative connect":      {"03-resolver-subsets", []string{`"ConnectTimeout": "3s"`, `"ConnectTimeout": "-3s"`}, `ConnectTimeout: -3s is negative`, false},
		"regex":                 {"06-router-full", []string{`"^/v[0-9]+/users"`, `"(?<!v)users"`}, `routes[2].match.pathRegex: is not an RE2 expression`, false},
		"host header":           {"06-router-full", []string{`"x-b": "2"`, `"host": "elsewhere"`}, `requestHeaders.set.host: "host" can not be changed`, false},
		"attempts":              {"06-router-full", []string{`"NumRetries": 3`, `"NumRetries": 4294967295`}, `routes[0].retry.attempts: 4294967296 is out of range`, false},
		"retry condition":       {"06-router-full", []string{`"unavailable"`, `"mondays"`}, `routes[0].retry.on[1]: "mondays" is not known`, false},
		"filter":                {"03-resolver-subsets", []string{`"Filter": "Service.Meta.version == v1"`, `"Filter": "Service.Meta.version =="`}, `filter: can not be read`, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := edited(t, test.sample, test.oldNew...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %s", err, test.want)
			}
			if errors.Is(err, ErrUnsupported) != test.unsupported {
				t.Errorf("errors.Is(ErrUnsupported) is %v, want %v: %v", !test.unsupported, test.unsupported, err)
			}
		})
	}
	for _, body := range []string{`{}`, `null`, `[]`, `{"Chain": null}`, `{"Chain": 5}`, `{"Chain": {}}`, ``, `{`, `{"chain": {"Default": true}}`} {
		c, err := decodeChain([]byte(body))
		if err == nil {
			_, err = compile(c, false)
		}
		if err == nil {
			t.Errorf("%s: no error", body)
		}
	}
}

// What says nothing, and what is known to be of no concern, is let by.
func TestLetBy(t *testing.T) {
	for name, test := range map[string]struct {
		sample string
		oldNew []string
	}{
		"empty new fields":      {"03-resolver-subsets", []string{`"ID":`, `"PrioritizeByLocality": {"Mode": ""}, "Locality": null, "ID":`}},
		"gateway, but it is us": {"03-resolver-subsets", []string{`"MeshGateway": {}`, `"MeshGateway": {"Mode": "local"}`}},
		"gateway none":          {"09-failover-datacenters", []string{`"Mode": "local"`, `"Mode": "none"`}},
		"sequential failover":   {"11-failover-service", []string{`"Failover": {`, `"Failover": {"Policy": {"Mode": "sequential"},`}},
		"extensions":            {"03-resolver-subsets", []string{`"AutoVirtualIPs"`, `"EnvoyExtensions": [{"Name": "builtin/lua", "Required": true}], "AutoVirtualIPs"`}},
		"10001 hundredths":      {"05-splitter-nested-flattened", []string{`"Weight": 16.67`, `"Weight": 16.68`}},
		"9999 hundredths":       {"05-splitter-nested-flattened", []string{`"Weight": 16.67`, `"Weight": 16.65`}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := edited(t, test.sample, test.oldNew...); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFailoverKeepsItsOrderAndDatacenters(t *testing.T) {
	s, err := edited(t, "09-failover-datacenters", `"Mode": "local"`, `"Mode": "none"`, `"ConnectTimeout": "2s"`, `"ConnectTimeout": "4s"`)
	if err != nil {
		t.Fatal(err)
	}
	first := s.Routes[0].To[0]
	var got []string
	for _, next := range first.Failover {
		got = append(got, next.Service+" "+next.Datacenter+" "+next.Connect.String())
	}
	if diff := cmp.Diff([]string{"web dc2 4s", "web dc3 4s"}, got); diff != "" || first.Datacenter != "" {
		t.Errorf("first in %q, then %s", first.Datacenter, diff)
	}
}

// A leg of weight 0 stays, and is never chosen.
func TestLegWithoutWeightStays(t *testing.T) {
	s, err := edited(t, "05-splitter-nested-flattened", `"Weight": 16.67`, `"Weight": 0`, `"Weight": 33.34`, `"Weight": 50.01`)
	if err != nil {
		t.Fatal(err)
	}
	if legs := s.Routes[0].To; len(legs) != 3 || legs[1].Weight != -1 || legs[1].Hundredths() != 0 || legs[1].Service != "leaf-a" {
		t.Errorf("legs %+v", legs)
	}
}

// A subset without conditions is all instances, and a name that a policy would
// have to define.
func TestSubsetWithoutConditions(t *testing.T) {
	s, err := edited(t, "03-resolver-subsets", `"Filter": "Service.Meta.version == v1"`, `"Filter": ""`)
	if err != nil {
		t.Fatal(err)
	}
	if leg := s.Routes[0].To[0]; leg.Subset != "" || leg.Filter != "" || leg.Service != "web" {
		t.Errorf("leg %+v", leg)
	}
}

// How to hash is a matter of the route: the splitter's word, else that of its
// first leg that hashes.
func TestLegsHashAlike(t *testing.T) {
	chain := func(ofSplitter *loadBalancer) *chain {
		hashing := func(header string) *loadBalancer {
			return &loadBalancer{Policy: "ring_hash", HashPolicies: []hashPolicy{{Field: "header", FieldValue: header}}}
		}
		c := &chain{ServiceName: "web", Datacenter: "dc1", Protocol: "http", StartNode: "s", Targets: map[string]*target{"t": {Service: "web", Datacenter: "dc1"}}}
		c.Nodes = map[string]*node{
			"s": {Type: splitter, LoadBalancer: ofSplitter, Splits: []*split{{Weight: 40, NextNode: "a"}, {Weight: 30, NextNode: "b"}, {Weight: 30, NextNode: "c"}}},
			"a": {Type: resolver, Resolver: &resolution{Target: "t"}, LoadBalancer: &loadBalancer{Policy: "least_request"}},
			"b": {Type: resolver, Resolver: &resolution{Target: "t"}, LoadBalancer: hashing("x-b")},
			"c": {Type: resolver, Resolver: &resolution{Target: "t"}, LoadBalancer: hashing("x-c")},
		}
		return c
	}
	for want, lb := range map[string]*loadBalancer{
		"x-b": nil,
		"x-s": {Policy: "maglev", HashPolicies: []hashPolicy{{Field: "header", FieldValue: "x-s"}}},
	} {
		s, err := compile(chain(lb), false)
		if err != nil {
			t.Fatal(err)
		}
		legs := s.Routes[0].To
		if b := legs[0].Balancer; b.Policy != policy.LeastRequest || b.Choices != 2 || b.Hash != nil {
			t.Errorf("first leg %+v", b)
		}
		for _, leg := range legs[1:] {
			if b := leg.Balancer; b.Policy != policy.RingHash || len(b.Hash) != 1 || b.Hash[0].Header != want {
				t.Errorf("leg %+v, want it to hash %s", b, want)
			}
		}
	}
}

// 5s is Consul's default, and counts only if the caller's entries say it.
func TestConnectTimeoutOfConsul(t *testing.T) {
	body := read(t, "testdata/chains/14-external-sni.json")
	for said, want := range map[bool]policy.Duration{false: 0, true: policy.Duration(consulConnect)} {
		c, err := decodeChain(body)
		if err != nil {
			t.Fatal(err)
		}
		s, err := compile(c, said)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Routes[0].To[0].Connect; got != want {
			t.Errorf("said %v: %v, want %v", said, got, want)
		}
	}
}

// A resolver's request timeout acts where the chain starts, and where requests
// are seen at all.
func TestRequestTimeoutOfResolver(t *testing.T) {
	if s, err := edited(t, "03-resolver-subsets", `"Protocol": "http"`, `"Protocol": "tcp"`); err != nil || s.Routes[0].Timeout != (policy.Timeout{}) {
		t.Errorf("tcp: %+v, %v", s.Routes, err)
	}
	if s, err := edited(t, "03-resolver-subsets", `7000000000`, `-1`); err != nil || s.Routes[0].Timeout.Total != policy.Off {
		t.Errorf("off: %+v, %v", s.Routes, err)
	}
	s, err := edited(t, "04-splitter-subsets", `"Target": "v1.`, `"RequestTimeout": 7000000000, "Target": "v1.`)
	if err != nil || s.Routes[0].Timeout != (policy.Timeout{}) {
		t.Errorf("behind a splitter: %+v, %v", s.Routes, err)
	}
}

func TestRetries(t *testing.T) {
	for name, test := range map[string]struct {
		destination destination
		want        policy.Retry
	}{
		"nothing": {destination{}, policy.Retry{}},
		"number alone": {destination{NumRetries: 2},
			policy.Retry{Attempts: 3, On: []string{}, Statuses: []int{}}},
		"no number": {destination{RetryOnStatusCodes: []uint32{503}},
			policy.Retry{Attempts: 2, On: []string{}, Statuses: []int{503}}},
		"connect twice": {destination{RetryOnConnectFailure: true, RetryOn: []string{"connect-failure", "5xx"}},
			policy.Retry{Attempts: 2, On: []string{"connect-failure", "5xx"}, Statuses: []int{}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.destination.retry()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRouteNames(t *testing.T) {
	taken := map[string]bool{}
	for i, test := range []struct {
		match policy.Match
		want  string
	}{
		{policy.Match{}, "all"},
		{policy.Match{}, "all (2)"},
		{policy.Match{Methods: []string{"GET", "HEAD"}}, "GET,HEAD"},
		{policy.Match{Query: []policy.QueryMatch{{Name: "q"}}, Methods: []string{"GET"}}, "query q"},
		{policy.Match{Path: "/" + strings.Repeat("é", 60)}, "/" + strings.Repeat("é", 47) + "…"},
		{policy.Match{PathPrefix: "/a", Methods: []string{"GET"}}, "/a*"},
		{policy.Match{PathPrefix: "/a", Methods: []string{"PUT"}}, "/a* (2)"},
	} {
		if got := distinct(nameOf(test.match), taken); got != test.want {
			t.Errorf("%d: %q, want %q", i, got, test.want)
		}
	}
}

// Generated cookies live for a time, for a session, or are not made at all.
func TestCookies(t *testing.T) {
	for i, test := range []struct {
		cookie *cookie
		ttl    policy.Duration
		path   string
	}{
		{nil, 0, ""},
		{&cookie{Path: "/"}, 0, ""},
		{&cookie{Session: true, Path: "/"}, policy.Off, "/"},
		{&cookie{TTL: 5, Path: "/"}, 5, "/"},
	} {
		if ttl, path := test.cookie.generated(); ttl != test.ttl || path != test.path {
			t.Errorf("%d: %v %q", i, ttl, path)
		}
	}
}
