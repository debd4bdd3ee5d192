package consul

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/innermesh/innermesh/policy"
)

// merged is the outcome for calls to "api": the question for the chain, and the
// policy.
func merged(t *testing.T, proxy, caller string, callee *calleeDefaults) (question string, s policy.Service, err error) {
	t.Helper()
	p, err := decodeProxyDefaults([]byte(proxy))
	if err != nil {
		return "", s, err
	}
	c, err := decodeServiceDefaults([]byte(caller))
	if err != nil {
		return "", s, err
	}
	u, err := mergeUpstream("api", p, c, callee)
	if err != nil {
		return "", s, err
	}
	s, err = u.service()
	return string(u.overrides()), s, err
}

func TestUpstreams(t *testing.T) {
	seconds := func(n int) policy.Duration { return policy.Duration(n) * 1e9 }
	sample := string(read(t, "testdata/service-defaults.json"))
	http := &calleeDefaults{found: true, protocol: "http"}
	silent := &calleeDefaults{found: true}
	for name, test := range map[string]struct {
		proxy, caller string
		callee        *calleeDefaults
		question      string
		want          policy.Service
	}{
		"nothing": {},
		"sample": {
			caller:   sample,
			question: `{"OverrideConnectTimeout":"1.5s"}`,
			want: policy.Service{
				Timeout:  policy.Timeout{Connect: seconds(1) * 3 / 2},
				Limits:   policy.Limits{Concurrency: 5}, // the override replaces all limits
				Ejection: policy.Ejection{Failures: 3, Enforced: 100, Interval: seconds(10), Base: seconds(15), MaxPercent: 50},
			},
		},
		"zeros": {
			caller: `{"UpstreamConfig": {"Defaults": {"Limits": {"MaxConnections": 0, "MaxPendingRequests": 0, "MaxConcurrentRequests": 2000000},
				"PassiveHealthCheck": {"EnforcingConsecutive5xx": 0, "MaxEjectionPercent": 0, "BaseEjectionTime": 0}}}}`,
			want: policy.Service{
				Limits:   policy.Limits{Connections: policy.None, Pending: policy.None, Concurrency: policy.NoLimit},
				Ejection: policy.Ejection{Enforced: -1, MaxPercent: -1, Base: policy.Off},
			},
		},
		"override replaces objects as a whole": {
			caller: `{"UpstreamConfig": {
				"Defaults": {"ConnectTimeoutMs": 100, "Limits": {"MaxConnections": 1}, "PassiveHealthCheck": {"MaxFailures": 1, "Interval": "2s"}},
				"Overrides": [
					{"Name": "other", "ConnectTimeoutMs": 1},
					{"Name": "api", "Peer": "far", "ConnectTimeoutMs": 2},
					{"Name": "api", "Limits": {}, "PassiveHealthCheck": {"BaseEjectionTime": "400s"}}]}}`,
			question: `{"OverrideConnectTimeout":"100ms"}`,
			want: policy.Service{
				Timeout:  policy.Timeout{Connect: seconds(1) / 10},
				Ejection: policy.Ejection{Base: seconds(400), Max: seconds(400)},
			},
		},
		"protocol of proxy-defaults where the chain would not see it": {
			proxy: `{"Config": {"protocol": "http"}}`, callee: silent, question: `{"OverrideProtocol":"http"}`,
		},
		"protocol of the callee":  {proxy: `{"Config": {"protocol": "tcp"}}`, callee: http},
		"no entry for the callee": {proxy: `{"Config": {"protocol": "http"}}`, callee: &calleeDefaults{}},
		"protocol of the caller":  {proxy: `{"Config": {"protocol": "http"}}`, caller: `{"UpstreamConfig": {"Defaults": {"Protocol": "GRPC"}}}`, callee: silent, question: `{"OverrideProtocol":"grpc"}`},
		"protocol of the caller's override": {
			caller:   `{"UpstreamConfig": {"Defaults": {"Protocol": "grpc"}, "Overrides": [{"Name": "api", "Protocol": "http2"}]}}`,
			question: `{"OverrideProtocol":"http2"}`,
		},
		"gateways": {
			proxy:    `{"MeshGateway": {"Mode": "local"}}`,
			caller:   `{"MeshGateway": {"Mode": "remote"}, "UpstreamConfig": {"Defaults": {"MeshGateway": {"Mode": "none"}}}}`,
			question: `{"OverrideMeshGateway":{"Mode":"none"}}`,
		},
		"gateways of the caller": {
			proxy: `{"MeshGateway": {"Mode": "local"}}`, caller: `{"MeshGateway": {"Mode": "remote"}}`,
			question: `{"OverrideMeshGateway":{"Mode":"remote"}}`,
		},
		"gateways of all": {proxy: `{"MeshGateway": {"Mode": "local"}}`, question: `{"OverrideMeshGateway":{"Mode":"local"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			question, s, err := merged(t, test.proxy, test.caller, test.callee)
			if err != nil {
				t.Fatal(err)
			}
			if question != test.question {
				t.Errorf("asks %s, want %s", question, test.question)
			}
			if diff := cmp.Diff(test.want, s); diff != "" {
				t.Error(diff)
			}
			if question != "" && !json.Valid([]byte(question)) {
				t.Error("that is not JSON")
			}
		})
	}
}

func TestRefusedUpstreams(t *testing.T) {
	for name, test := range map[string]struct {
		proxy, caller, want string
		unsupported         bool
	}{
		"cluster":   {"", `{"UpstreamConfig": {"Defaults": {"EnvoyClusterJSON": "{}"}}}`, "UpstreamConfig.Defaults.EnvoyClusterJSON: is for an Envoy alone", true},
		"listener":  {"", `{"UpstreamConfig": {"Overrides": [{"Name": "api", "EnvoyListenerJSON": "{}"}]}}`, "UpstreamConfig.Overrides[0].EnvoyListenerJSON", true},
		"new field": {"", `{"UpstreamConfig": {"Defaults": {"Budget": 5}}}`, "UpstreamConfig.Defaults.Budget: is a field that is not known", true},
		"negative":  {"", `{"UpstreamConfig": {"Defaults": {"Limits": {"MaxConnections": -1}}}}`, "Limits.MaxConnections: -1 is negative", false},
		"percent":   {"", `{"UpstreamConfig": {"Defaults": {"PassiveHealthCheck": {"MaxEjectionPercent": 101}}}}`, "PassiveHealthCheck.MaxEjectionPercent: 101 is out of range", false},
		"interval":  {"", `{"UpstreamConfig": {"Defaults": {"PassiveHealthCheck": {"Interval": -1}}}}`, "ejection.interval: can not be off", false},
		"connect":   {"", `{"UpstreamConfig": {"Defaults": {"ConnectTimeoutMs": -1}}}`, "UpstreamConfig.Defaults.ConnectTimeoutMs: -1 is out of range", false},
		"overflow":  {"", `{"UpstreamConfig": {"Defaults": {"ConnectTimeoutMs": 9223372036854775807}}}`, "is out of range", false},
		"protocol":  {`{"Config": {"protocol": 5}}`, "", "Config.protocol: want a text", false},
		"shape":     {`[]`, "", "read", false},
		"shape too": {"", `{"Protocol": 5}`, "read", false},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := merged(t, test.proxy, test.caller, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, ErrUnsupported) != test.unsupported {
				t.Errorf("error %v, want %s, unsupported %v", err, test.want, test.unsupported)
			}
		})
	}
	// What is said for other services is no concern of these calls.
	if _, _, err := merged(t, "", `{"UpstreamConfig": {"Overrides": [{"Name": "other", "EnvoyClusterJSON": "{}"}]}}`, nil); err != nil {
		t.Error(err)
	}
}
