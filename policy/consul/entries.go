package consul

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Config entries as /v1/config answers them. Most of what they say concerns
// servers and sidecars, so only the parts that concern a caller are read
// strictly. Fields have Consul's names.

// proxyDefaults is the entry proxy-defaults "global".
type proxyDefaults struct {
	Config      map[string]json.RawMessage `json:"Config"`
	MeshGateway meshGateway                `json:"MeshGateway"`
}

// serviceDefaults is the entry service-defaults of one service.
type serviceDefaults struct {
	Protocol       string          `json:"Protocol"`
	MeshGateway    meshGateway     `json:"MeshGateway"`
	UpstreamConfig json.RawMessage `json:"UpstreamConfig"`

	upstreams upstreamConfig // what UpstreamConfig says
}

// upstreamConfig is what the calling service says about the services it calls.
type upstreamConfig struct {
	Defaults  *upstreamEntry
	Overrides []*upstreamEntry
}

type upstreamEntry struct {
	Name, Peer           string
	Namespace, Partition string
	EnvoyListenerJSON    string
	EnvoyClusterJSON     string
	Protocol             string
	ConnectTimeoutMs     int64
	Limits               *upstreamLimits
	PassiveHealthCheck   *passiveHealthCheck
	MeshGateway          meshGateway

	BalanceOutboundConnections ignored // between the threads of an Envoy
}

type upstreamLimits struct {
	MaxConnections, MaxPendingRequests, MaxConcurrentRequests *int64
}

type passiveHealthCheck struct {
	Interval                duration
	MaxFailures             uint32
	EnforcingConsecutive5xx *uint32
	MaxEjectionPercent      *uint32
	BaseEjectionTime        *duration
}

func decodeProxyDefaults(body []byte) (p proxyDefaults, err error) {
	if len(body) == 0 { // there is no such entry
		return p, nil
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return proxyDefaults{}, fmt.Errorf("read: %w", err)
	}
	return p, nil
}

// errProtocol: Config is free-form, so Consul takes anything.
var errProtocol = errors.New("Config.protocol: want a text, such as \"http\"") //nolint:staticcheck // the name of the field

// protocol is that of all services that do not say theirs.
func (p proxyDefaults) protocol() (string, error) {
	raw := p.Config["protocol"]
	if len(raw) == 0 {
		return "", nil
	}
	var protocol string
	if err := json.Unmarshal(raw, &protocol); err != nil {
		return "", errProtocol
	}
	return protocol, nil
}

func decodeServiceDefaults(body []byte) (s serviceDefaults, err error) {
	if len(body) == 0 { // there is no such entry
		return s, nil
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return serviceDefaults{}, fmt.Errorf("read: %w", err)
	}
	if len(s.UpstreamConfig) > 0 {
		err = decode(s.UpstreamConfig, &s.upstreams, "UpstreamConfig")
	}
	if err != nil {
		return serviceDefaults{}, err
	}
	return s, nil
}
