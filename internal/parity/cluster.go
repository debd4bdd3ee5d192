package parity

import "cmp"

// Cluster is where a leg leads: levels of which each takes over what the ones
// before it cannot carry.
type Cluster struct {
	// Levels are in order of preference; one, unless there is failover.
	Levels []Level
	// PanicThreshold is for all levels together, in percent: if they are less
	// available than this, they share the requests by their numbers of endpoints,
	// healthy or not. Envoy's default is 50. 0 with a single level.
	PanicThreshold float64 `json:",omitzero"`
}

// Level is a set of instances, and how they are used.
type Level struct {
	// Target is written as the keys of [Upstream.Clusters].
	Target string
	// HTTP2 says that requests are sent with HTTP/2; else with HTTP/1.1, or as they
	// come for tcp.
	HTTP2 bool
	// ConnectTimeout is for TCP and TLS together. Envoy's default is 5 s.
	ConnectTimeout Duration
	Balancer       Balancer
	Ejection       Ejection
	Limits         Limits
	// PanicThreshold is the percentage of healthy endpoints below which all are
	// used. 0 is never.
	PanicThreshold float64
	TLS            TLS
	// Known says that Consul has told the endpoints, even if there are none. It has
	// not of a datacenter that it cannot reach.
	Known bool
	// Endpoints are sorted by address.
	Endpoints []Endpoint
}

// Endpoint is one instance.
type Endpoint struct {
	// Address is "host:port".
	Address string
	// Weight is 1 to 128.
	Weight uint32
	// Healthy is false for an instance that gets nothing but counts for failover.
	Healthy bool
}

// Balancer says how one of the endpoints is picked.
type Balancer struct {
	// Policy is "round_robin", "random", "least_request", "ring_hash" or "maglev".
	Policy string
	// Choices is for least_request. Envoy's default is 2.
	Choices uint32 `json:",omitempty"`
	// MinRing and MaxRing are for ring_hash. Envoy's defaults are 1024 and 8388608.
	MinRing uint64 `json:",omitempty"`
	MaxRing uint64 `json:",omitempty"`
	// Table is for maglev. Envoy's default is 65537.
	Table uint64 `json:",omitempty"`
}

// Ejection is how endpoints are left out because of how they answer. It is on
// by default.
type Ejection struct {
	// Consecutive5xx is after how many failures in a row. Envoy's default is 5.
	Consecutive5xx uint32
	// Enforcing is the chance in percent that it is then done. Envoy's default is
	// 100; 0 is never.
	Enforcing uint32
	// Interval is between two sweeps. Envoy's default is 10 s.
	Interval Duration
	// BaseTime is for how long, times how often already. Envoy's default is 30 s,
	// at most 300 s.
	BaseTime Duration
	// MaxPercent of the endpoints may be out. Envoy's default is 10; whether one
	// may be out at all in a small set depends on Envoy's version.
	MaxPercent uint32
}

// Limits are per level and sidecar. 0 lets nothing through.
type Limits struct {
	// Connections, Pending and Requests are 1024 each by default of Envoy.
	Connections, Pending, Requests uint32
	// Retries at the same time. Envoy's default is 3.
	Retries uint32
}

// TLS says whom the sidecar expects.
type TLS struct {
	SNI string
	// SANs are SPIFFE IDs of which one must be in the certificate.
	SANs []string
	// ALPN is what is offered.
	ALPN []string `json:",omitempty"`
	// MinVersion and MaxVersion are "TLSv1_2" and the like. Empty: Envoy's default
	// for a client, 1.2 to 1.3.
	MinVersion string `json:",omitempty"`
	MaxVersion string `json:",omitempty"`
	// Ciphers are Envoy's names of those allowed up to 1.2. Empty: its default.
	Ciphers []string `json:",omitempty"`
}

// envoyEjection are the defaults of Envoy's outlier detection.
func envoyEjection() Ejection {
	return Ejection{
		Consecutive5xx: 5, Enforcing: 100, MaxPercent: 10,
		Interval: 10e9, BaseTime: 30e9,
	}
}

// envoyLimits are the defaults of Envoy's circuit breakers.
func envoyLimits() Limits {
	return Limits{Connections: 1024, Pending: 1024, Requests: 1024, Retries: 3}
}

func compareEndpoints(a, b Endpoint) int { return cmp.Compare(a.Address, b.Address) }
