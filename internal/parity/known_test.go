package parity_test

import (
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/parity"
)

// view shortens the way to parts of an upstream.
type view struct {
	*parity.Upstream

	s parity.Scenario
}

// level is one of the cluster that is called plain in the scenario.
func (v view) level(plain string, i int) parity.Level {
	for key, c := range v.Clusters {
		if v.s.Plain(key) == plain && i < len(c.Levels) {
			return c.Levels[i]
		}
	}
	return parity.Level{Target: "no level of " + plain}
}

// levels are the targets of a cluster in order.
func (v view) levels(plain string) (list []string) {
	for key, c := range v.Clusters {
		if v.s.Plain(key) == plain {
			for _, l := range c.Levels {
				list = append(list, v.s.Plain(l.Target))
			}
		}
	}
	return list
}

func (v view) defects() (list []string) {
	for _, d := range v.Defects {
		list = append(list, d.ID)
	}
	return list
}

func timeouts(v view) any {
	var list []time.Duration
	for _, r := range v.Routes {
		list = append(list, time.Duration(r.Timeout))
	}
	return list
}

func idles(v view) any {
	var list []time.Duration
	for _, r := range v.Routes {
		list = append(list, time.Duration(r.IdleTimeout))
	}
	return list
}

func retries(v view) any {
	var list []*parity.Retry
	for _, r := range v.Routes {
		list = append(list, r.Retry)
	}
	return list
}

// known are values that are clear from the entries alone, by scenario: they show
// that the oracle reads the stream aright.
func known() map[string][]struct {
	get  func(v view) any
	want any
} {
	type fact = struct {
		get  func(v view) any
		want any
	}
	const second = time.Second
	balancer := func(b parity.Balancer) []fact {
		return []fact{{func(v view) any { return v.level("web", 0).Balancer }, b}}
	}
	limits := func(connections, pending, requests uint32) fact {
		return fact{
			func(v view) any { return v.level("web", 0).Limits },
			parity.Limits{Connections: connections, Pending: pending, Requests: requests, Retries: 3},
		}
	}
	ejection := func(e parity.Ejection) fact {
		return fact{func(v view) any { return v.level("web", 0).Ejection }, e}
	}
	connect := func(plain string, i int, d time.Duration) fact {
		return fact{func(v view) any { return time.Duration(v.level(plain, i).ConnectTimeout) }, d}
	}
	levels := func(plain string, want ...string) fact {
		return fact{func(v view) any { return v.levels(plain) }, want}
	}
	endpoints := func(plain string, want ...parity.Endpoint) fact {
		return fact{func(v view) any { return v.level(plain, 0).Endpoints }, want}
	}
	at := func(port string, weight uint32, healthy bool) parity.Endpoint {
		return parity.Endpoint{Address: "127.0.0.1:" + port, Weight: weight, Healthy: healthy}
	}
	protocol := func(p string) fact { return fact{func(v view) any { return v.Protocol }, p} }
	http2 := func(want bool) fact { return fact{func(v view) any { return v.level("web", 0).HTTP2 }, want} }
	tcp := func(plain string) fact { return fact{func(v view) any { return v.s.Plain(v.TCP) }, plain} }
	defects := func(want ...string) fact { return fact{func(v view) any { return v.defects() }, want} }
	standard := parity.Ejection{
		Consecutive5xx: 5, Enforcing: 100, Interval: parity.Duration(10 * second), BaseTime: parity.Duration(30 * second), MaxPercent: 10,
	}
	custom := parity.Ejection{
		Consecutive5xx: 4, Enforcing: 50, Interval: parity.Duration(3 * second), BaseTime: parity.Duration(7 * second), MaxPercent: 60,
	}
	header := parity.Hash{By: "header", Name: "x-user"}
	hash := func(want ...parity.Hash) fact { return fact{func(v view) any { return v.Routes[0].Hash }, want} }

	return map[string][]fact{
		"rewrite-none":  {defects(parity.PrefixStripped, parity.PrefixStripped, parity.PrefixStripped)},
		"rewrite-exact": {defects(parity.ExactKept, parity.PrefixStripped)},
		"rewrite-root":  {defects(parity.PrefixStripped)},
		"timeout-request": {
			{timeouts, []time.Duration{1500 * time.Millisecond, 15 * second, 0, 15 * second}},
		},
		"timeout-idle": {{idles, []time.Duration{2 * second, 300 * second, 0, 300 * second}}},
		"retry-conditions": {{retries, []*parity.Retry{
			{On: []string{"5xx", "connect-failure", "envoy-ratelimited", "gateway-error", "refused-stream", "reset", "retriable-4xx"}, Num: 2},
			{On: []string{"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"}, Num: 4}, nil,
		}}},
		"retry-statuses": {{retries, []*parity.Retry{{On: []string{"retriable-status-codes"}, Num: 1, Statuses: []uint32{429, 503}}, nil}}},
		"retry-connect": {{retries, []*parity.Retry{
			{On: []string{"connect-failure"}, Num: 3},
			{On: []string{"connect-failure", "reset", "retriable-status-codes"}, Num: 1, Statuses: []uint32{500}}, nil,
		}}},
		"retry-number": {{retries, []*parity.Retry{{Num: 5}, nil}}},
		"headers-route": {
			{func(v view) any { return v.Routes[0].Request }, parity.HeaderMods{
				Add: map[string]string{"x-add": "1"}, Set: map[string]string{"x-set": "2"}, Remove: []string{"x-also", "x-gone"},
			}},
			{func(v view) any { return v.Routes[0].Response }, parity.HeaderMods{
				Add: map[string]string{"x-add": "3"}, Set: map[string]string{"server": "4"}, Remove: []string{"via"},
			}},
		},
		"split-nested-headers": {{func(v view) any { return v.Routes[0].Legs[1] }, parity.Leg{
			Target: "a-split-nested-headers.default.default.dc1", Weight: 5000,
			Request:  parity.HeaderMods{Set: map[string]string{"x": "inner", "i": "1", "o": "1"}, Remove: []string{"ri", "ro"}},
			Response: parity.HeaderMods{Set: map[string]string{"y": "outer", "i": "1", "o": "1"}},
		}}},
		"split-hash":       {hash(header), {func(v view) any { return v.level("web", 0).Balancer.Policy }, "round_robin"}},
		"resolve-tcp":      {protocol("tcp"), tcp("web"), endpoints("web", at("8001", 1, true), at("8002", 1, true)), limits(1024, 1024, 1024), ejection(standard), connect("web", 0, 5*second)},
		"resolve-sidecars": {endpoints("v1.web", at("8002", 1, true), at("9001", 3, true))},
		"headers-percent":  {{func(v view) any { return v.Routes[0].Request.Set["x-rate"] }, "50%"}},
		"resolve-nobody":   {endpoints("web")},
		"resolve-subsets":  {endpoints("both.web", at("8002", 1, true)), endpoints("not.web", at("8002", 1, true), at("8003", 1, true), at("8004", 1, true))},
		"resolve-health": {endpoints("web", at("8001", 10, true), at("8002", 2, true), at("8003", 10, false), at("8004", 1, false), at("8005", 128, true)),
			{func(v view) any { return v.level("web", 0).PanicThreshold }, 0.0}},
		"resolve-only-passing":   {endpoints("strict.web", at("8001", 1, true), at("8002", 5, false), at("8003", 1, false))},
		"redirect-service":       {connect("a", 0, 3*second), {func(v view) any { return v.level("a", 0).Balancer.Policy }, "random"}},
		"redirect-datacenter":    {endpoints("web@dc2", at("8002", 1, true), parity.Endpoint{Address: "198.51.100.7:29001", Weight: 1, Healthy: true})},
		"redirect-tcp":           {tcp("a")},
		"timeout-connect":        {connect("web", 0, 250*time.Millisecond)},
		"timeout-resolver":       {{timeouts, []time.Duration{7 * second}}},
		"timeout-resolver-split": {{timeouts, []time.Duration{15 * second}}},
		"timeout-resolver-behind": {
			{timeouts, []time.Duration{15 * second, 15 * second}},
		},
		"external-sni":         {{func(v view) any { return v.level("web", 0).TLS.SNI }, "shop.example.com"}},
		"failover-service":     {levels("web", "web", "a")},
		"failover-subset":      {levels("v1.web", "v1.web", "v2.web"), levels("v2.web", "v2.web")},
		"failover-star":        {levels("v1.web", "v1.web", "v2.web"), levels("v2.web", "v2.web", "a"), levels("web", "web", "a")},
		"failover-datacenters": {levels("web", "web", "web@dc2", "web@dc3"), {func(v view) any { return v.level("web", 2).Known }, false}},
		"failover-targets":     {levels("v1.web", "v1.web", "v2.web", "a", "v1.web@dc2", "a@dc2")},
		"failover-redirected":  {levels("web", "web", "v1.b")},
		"failover-settings": {connect("web", 1, second), {func(v view) any { return v.level("web", 1).Balancer },
			parity.Balancer{Policy: "least_request", Choices: 4}}},
		"failover-protocol":             {protocol("grpc"), http2(true), {func(v view) any { return v.level("web", 1).HTTP2 }, true}},
		"failover-tcp":                  {tcp("web"), levels("web", "web", "a")},
		"failover-nobody-left":          {endpoints("web", at("8001", 1, false)), levels("web", "web", "a", "b")},
		"failover-retry-direct":         {{func(v view) any { return v.Routes[0].Retry.NextLevel }, false}},
		"failover-retry-split":          {{func(v view) any { return v.Routes[0].Retry.NextLevel }, true}},
		"balance-random":                balancer(parity.Balancer{Policy: "random"}),
		"balance-least-request":         balancer(parity.Balancer{Policy: "least_request", Choices: 2}),
		"balance-least-request-choices": balancer(parity.Balancer{Policy: "least_request", Choices: 5}),
		"balance-ring":                  append(balancer(parity.Balancer{Policy: "ring_hash", MinRing: 1024, MaxRing: 8 << 20}), hash(header)),
		"balance-ring-size":             append(balancer(parity.Balancer{Policy: "ring_hash", MinRing: 10, MaxRing: 1000}), hash(parity.Hash{By: "source_ip"})),
		"balance-ring-min":              append(balancer(parity.Balancer{Policy: "ring_hash", MinRing: 2048}), defects(parity.SentAsZero)),
		"balance-ring-max":              append(balancer(parity.Balancer{Policy: "ring_hash", MaxRing: 4096}), defects(parity.SentAsZero)),
		"balance-maglev": append(balancer(parity.Balancer{Policy: "maglev", Table: 65537}),
			hash(parity.Hash{By: "query_parameter", Name: "user"})),
		"balance-cookie": {hash(parity.Hash{By: "cookie", Name: "own"},
			parity.Hash{By: "cookie", Name: "made", Generate: true, TTL: parity.Duration(30 * second), Path: "/p"},
			parity.Hash{By: "cookie", Name: "session", Generate: true})},
		"balance-terminal":       {hash(parity.Hash{By: "header", Name: "x-a", Terminal: true}, parity.Hash{By: "header", Name: "x-b"}, parity.Hash{By: "source_ip"})},
		"protocol-http2":         {protocol("http2"), http2(true)},
		"protocol-grpc":          {protocol("grpc"), http2(true)},
		"protocol-tcp":           {protocol("tcp"), tcp("web")},
		"protocol-override-tcp":  {protocol("tcp"), tcp("web")},
		"protocol-override-http": {protocol("http"), http2(false)},
		"protocol-override-grpc": {protocol("grpc"), http2(true)},
		"protocol-config":        {protocol("http2"), http2(true)},
		"limits-defaults":        {limits(10, 20, 30)},
		"limits-some":            {limits(1024, 7, 1024)},
		"limits-zero":            {limits(0, 0, 0)},
		"limits-override":        {limits(5, 1024, 1024)},
		"limits-other":           {limits(1024, 1024, 1024), connect("web", 0, 5*second)},
		"limits-service":         {limits(1024, 1024, 1024)},
		"limits-levels":          {limits(10, 20, 30), ejection(custom), {func(v view) any { return v.level("web", 1).Ejection }, custom}},
		"ejection-defaults":      {ejection(custom)},
		"ejection-override": {ejection(parity.Ejection{
			Consecutive5xx: 9, Enforcing: 100, Interval: standard.Interval, BaseTime: standard.BaseTime, MaxPercent: 10,
		})},
		"ejection-off":             {ejection(parity.Ejection{Consecutive5xx: 3, Interval: standard.Interval, BaseTime: standard.BaseTime})},
		"connect-override":         {connect("web", 0, 250*time.Millisecond)},
		"connect-defaults":         {connect("web", 1, 1111*time.Millisecond)},
		"config-limits":            {limits(1, 1024, 1024), connect("web", 0, 333*time.Millisecond)},
		"inbound-only":             {limits(1024, 1024, 1024), {timeouts, []time.Duration{15 * second}}},
		"global-protocol":          {protocol("http")},
		"global-protocol-shadowed": {protocol("http")},
		"global-protocol-own":      {protocol("grpc")},
		"global-config":            {limits(1024, 1024, 1024), connect("web", 0, 5*second)},
		"global-caller":            {protocol("grpc"), limits(3, 1024, 1024), connect("web", 0, 77*time.Millisecond)},
		"global-tls": {{func(v view) any {
			tls := v.level("web", 0).TLS
			return []any{tls.MinVersion, tls.MaxVersion, tls.Ciphers}
		}, []any{"TLSv1_2", "TLSv1_2", []string{"ECDHE-ECDSA-AES128-GCM-SHA256"}}}},
		"whole-canary": {
			{timeouts, []time.Duration{15 * second, 30 * second, 3 * second, 15 * second}},
			levels("v1.web", "v1.web", "v2.web", "backup"),
			connect("v1.web", 2, 800*time.Millisecond),
			endpoints("v1.web", at("8001", 10, true), at("8002", 2, true)),
			{func(v view) any { return v.Routes[2].Retry }, &parity.Retry{
				On: []string{"connect-failure", "reset", "retriable-status-codes"}, Num: 2, Statuses: []uint32{503}, NextLevel: true,
			}},
		},
	}
}

func checkKnown(t *testing.T, s parity.Scenario, u *parity.Upstream) {
	t.Helper()
	for i, fact := range known()[s.Name] {
		if diff := parity.Diff(fact.want, fact.get(view{u, s})); diff != "" {
			t.Errorf("%s: fact %d (-want +got):\n%s", s.Why, i, diff)
		}
	}
}

// A name that nobody plays would prove nothing.
func TestKnownNames(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, s := range parity.Scenarios() {
		names[s.Name] = true
	}
	for name := range known() {
		if !names[name] {
			t.Errorf("there is no scenario %q", name)
		}
	}
}
