package consul

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/innermesh/innermesh/policy"
)

// upstream is what the caller is told about one service that it calls, merged as
// Consul merges it for a sidecar: the later of proxy-defaults, the callee's
// service-defaults, and UpstreamConfig.Defaults and .Overrides in those of the
// caller wins. Limits and passive health check win as a whole.
type upstream struct {
	protocol    string // empty: the chain's own
	meshGateway string
	connect     time.Duration
	limits      *upstreamLimits
	passive     *passiveHealthCheck
}

// mergeUpstream merges the entries for calls to a service. callee is nil if its
// own entry was not asked for, because its protocol does not count.
func mergeUpstream(name string, proxy proxyDefaults, caller serviceDefaults, callee *calleeDefaults) (upstream, error) {
	protocol, err := proxy.protocol()
	if err != nil {
		return upstream{}, fmt.Errorf("proxy-defaults: %w", err)
	}
	// Of a service that has an entry without a protocol, chains say tcp where
	// sidecars take that of proxy-defaults; all others agree with the chain.
	u := upstream{meshGateway: cmp.Or(caller.MeshGateway.Mode, proxy.MeshGateway.Mode)}
	if callee != nil && callee.found && callee.protocol == "" {
		u.protocol = protocol
	}
	var f faults
	if d := caller.upstreams.Defaults; d != nil {
		u.lay(d, "UpstreamConfig.Defaults", &f)
	}
	if i := caller.override(name); i >= 0 {
		u.lay(caller.upstreams.Overrides[i], element("UpstreamConfig.Overrides", i), &f)
	}
	return u, f.err()
}

// calleeDefaults is what counts of the callee's own entry.
type calleeDefaults struct {
	found    bool
	protocol string
}

// override finds what the caller says for one service, -1 if nothing. The first
// counts; Consul takes each name once.
func (s serviceDefaults) override(name string) int {
	for i, o := range s.upstreams.Overrides {
		if o != nil && o.Name == name && o.Peer == "" && ours(o.Namespace) && ours(o.Partition) {
			return i
		}
	}
	return -1
}

func ours(place string) bool { return place == "" || place == "default" }

// saysProtocol says whether the caller gives the protocol itself.
func (s serviceDefaults) saysProtocol(name string) bool {
	if i := s.override(name); i >= 0 && s.upstreams.Overrides[i].Protocol != "" {
		return true
	}
	return s.upstreams.Defaults != nil && s.upstreams.Defaults.Protocol != ""
}

func (u *upstream) lay(e *upstreamEntry, path string, f *faults) {
	if e.EnvoyListenerJSON != "" {
		f.unsupportedf(path+".EnvoyListenerJSON", "is for an Envoy alone")
	}
	if e.EnvoyClusterJSON != "" {
		f.unsupportedf(path+".EnvoyClusterJSON", "is for an Envoy alone")
	}
	if e.ConnectTimeoutMs < 0 || e.ConnectTimeoutMs > int64(1<<63-1)/int64(time.Millisecond) {
		f.addf(path+".ConnectTimeoutMs", "%d is out of range", e.ConnectTimeoutMs)
	} else if e.ConnectTimeoutMs > 0 {
		u.connect = time.Duration(e.ConnectTimeoutMs) * time.Millisecond
	}
	u.protocol = cmp.Or(strings.ToLower(e.Protocol), u.protocol)
	u.meshGateway = cmp.Or(e.MeshGateway.Mode, u.meshGateway)
	if e.Limits != nil {
		u.limits = e.Limits
	}
	if e.PassiveHealthCheck != nil {
		u.passive = e.PassiveHealthCheck
	}
}

// overrides is the question that a sidecar would post for the chain, nil if it
// would ask without any.
func (u *upstream) overrides() json.RawMessage {
	type mode struct {
		Mode string `json:"Mode"`
	}
	question := struct {
		OverrideProtocol       string `json:"OverrideProtocol,omitempty"`
		OverrideConnectTimeout string `json:"OverrideConnectTimeout,omitempty"`
		OverrideMeshGateway    *mode  `json:"OverrideMeshGateway,omitempty"`
	}{OverrideProtocol: u.protocol}
	if u.connect > 0 {
		question.OverrideConnectTimeout = u.connect.String()
	}
	if u.meshGateway != "" {
		question.OverrideMeshGateway = &mode{u.meshGateway}
	}
	body, err := json.Marshal(question)
	if err != nil || string(body) == "{}" { // texts can always be written
		return nil
	}
	return body
}

// service is what the entries say about limits and ejection. What they do not
// say is not said: a sidecar would allow 1024 of each limit.
func (u *upstream) service() (policy.Service, error) {
	var s policy.Service
	s.Timeout.Connect = policy.Duration(u.connect)
	var f faults
	if l := u.limits; l != nil {
		s.Limits = policy.Limits{
			Connections: limit(l.MaxConnections, "Limits.MaxConnections", &f),
			Pending:     limit(l.MaxPendingRequests, "Limits.MaxPendingRequests", &f),
			Concurrency: limit(l.MaxConcurrentRequests, "Limits.MaxConcurrentRequests", &f),
		}
	}
	if p := u.passive; p != nil {
		s.Ejection = p.policy(&f)
	}
	if err := f.err(); err != nil {
		return policy.Service{}, err
	}
	if err := s.Validate(); err != nil {
		return policy.Service{}, fmt.Errorf("as a policy: %w", err)
	}
	return s, nil
}

// limit: unset says nothing, an explicit 0 allows none. More than policies can
// count is as good as no limit.
func limit(n *int64, path string, f *faults) policy.Limit {
	const most = 1_000_000
	switch {
	case n == nil:
		return 0
	case *n < 0:
		f.addf(path, "%d is negative", *n)
		return 0
	case *n == 0:
		return policy.None
	case *n > most:
		return policy.NoLimit
	default:
		return policy.Limit(*n)
	}
}

func (p passiveHealthCheck) policy(f *faults) policy.Ejection {
	const most = 1_000_000 // failures in a row that a policy can count
	e := policy.Ejection{
		Interval: policy.Duration(p.Interval),
		Failures: int(min(p.MaxFailures, most)),
		Enforced: percent(p.EnforcingConsecutive5xx, "PassiveHealthCheck.EnforcingConsecutive5xx", f),
	}
	e.MaxPercent = percent(p.MaxEjectionPercent, "PassiveHealthCheck.MaxEjectionPercent", f)
	e.Base = policy.Duration(30 * time.Second) // Envoy's; without the check ours is off
	if b := p.BaseEjectionTime; b != nil {
		e.Base = policy.Duration(*b)
		if *b <= 0 {
			e.Base = policy.Off
		}
		if longest := policy.Default().Ejection.Max; e.Base > longest {
			e.Max = e.Base // as Envoy stretches it
		}
	}
	return e
}

// percent: unset says nothing, an explicit 0 is never or none.
func percent(n *uint32, path string, f *faults) int {
	switch {
	case n == nil:
		return 0
	case *n == 0:
		return -1
	case *n > 100:
		f.addf(path, "%d is out of range: want 0 to 100", *n)
		return 0
	default:
		return int(*n)
	}
}
