package parity

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	aggregatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/aggregate/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// envoyPanic is Envoy's default of the panic threshold, in percent.
const envoyPanic = 50

// cluster reduces the cluster of that name with all its levels.
func (r *resources) cluster(name string) (Cluster, error) {
	levels, err := r.levelNames(name)
	if err != nil {
		return Cluster{}, err
	}
	var c Cluster
	if r.clusters[name].GetClusterType() != nil {
		c.PanicThreshold = envoyPanic
	}
	for _, level := range levels {
		l, err := r.level(level)
		if err != nil {
			return Cluster{}, fmt.Errorf("cluster %s: %w", level, err)
		}
		c.Levels = append(c.Levels, l)
	}
	return c, nil
}

// levelNames are the clusters behind an aggregate one, else just itself.
func (r *resources) levelNames(name string) ([]string, error) {
	c, ok := r.clusters[name]
	if !ok {
		return nil, missingError{"cluster " + name}
	}
	if c.GetClusterType() == nil {
		return []string{name}, nil
	}
	// An aggregate dials nobody: its own connect timeout is without effect.
	err := only(c, "name", "alt_stat_name", "cluster_type", "connect_timeout", "lb_policy")
	if c.GetLbPolicy() != clusterv3.Cluster_CLUSTER_PROVIDED {
		err = errors.Join(err, fmt.Errorf("balancer %s of an aggregate", c.GetLbPolicy()))
	}
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	a, err := unpack[*aggregatev3.ClusterConfig](c.GetClusterType().GetTypedConfig())
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	return a.GetClusters(), only(a, "clusters")
}

func (r *resources) level(name string) (Level, error) {
	c, ok := r.clusters[name]
	if !ok {
		return Level{}, missingError{"cluster " + name}
	}
	errs := []error{
		only(c, "name", "alt_stat_name", "type", "eds_cluster_config", "connect_timeout", "lb_policy",
			"circuit_breakers", "outlier_detection", "common_lb_config", "transport_socket",
			"typed_extension_protocol_options", "ring_hash_lb_config", "least_request_lb_config", "maglev_lb_config"),
		only(c.GetCommonLbConfig(), "healthy_panic_threshold"),
	}
	if c.GetType() != clusterv3.Cluster_EDS {
		errs = append(errs, fmt.Errorf("discovery by %s instead of EDS", c.GetType()))
	}
	l := Level{
		ConnectTimeout: duration(c.GetConnectTimeout(), 5*time.Second),
		PanicThreshold: envoyPanic,
	}
	if p := c.GetCommonLbConfig().GetHealthyPanicThreshold(); p != nil {
		l.PanicThreshold = p.GetValue()
	}
	var err error
	l.Balancer, err = balancer(c)
	errs = append(errs, err)
	l.Limits, err = limits(c.GetCircuitBreakers())
	errs = append(errs, err)
	l.Ejection, err = ejection(c.GetOutlierDetection())
	errs = append(errs, err)
	l.HTTP2, err = http2(c)
	errs = append(errs, err)
	l.TLS, err = transport(c.GetTransportSocket())
	errs = append(errs, err)
	l.Endpoints, l.Known, err = r.levelEndpoints(name)
	errs = append(errs, err)
	l.Target, err = levelTarget(name, l.TLS)
	return l, errors.Join(append(errs, err)...)
}

// levelTarget finds out who a level is: a plain cluster has its own name, one
// that is a level of another has only what it expects of its instances.
func levelTarget(name string, t TLS) (string, error) {
	if !strings.HasPrefix(name, failoverPrefix) {
		return targetID(name)
	}
	if id, err := targetID(t.SNI); err == nil {
		return id, nil
	}
	if len(t.SANs) != 1 {
		return "", fmt.Errorf("target: %d SPIFFE IDs", len(t.SANs))
	}
	return spiffeTarget(t.SANs[0])
}

func balancer(c *clusterv3.Cluster) (Balancer, error) {
	b := Balancer{Policy: strings.ToLower(c.GetLbPolicy().String())}
	switch c.GetLbPolicy() {
	case clusterv3.Cluster_ROUND_ROBIN, clusterv3.Cluster_RANDOM:
		return b, nil
	case clusterv3.Cluster_LEAST_REQUEST:
		o := c.GetLeastRequestLbConfig()
		b.Choices = or32(o.GetChoiceCount(), 2)
		return b, only(o, "choice_count")
	case clusterv3.Cluster_RING_HASH:
		o := c.GetRingHashLbConfig()
		b.MinRing, b.MaxRing = or64(o.GetMinimumRingSize(), 1024), or64(o.GetMaximumRingSize(), 8<<20)
		return b, only(o, "minimum_ring_size", "maximum_ring_size")
	case clusterv3.Cluster_MAGLEV:
		o := c.GetMaglevLbConfig()
		b.Table = or64(o.GetTableSize(), 65537)
		return b, only(o, "table_size")
	default:
		return b, fmt.Errorf("balancer %s: not known", c.GetLbPolicy())
	}
}

func limits(c *clusterv3.CircuitBreakers) (Limits, error) {
	l := envoyLimits()
	if err := only(c, "thresholds"); err != nil {
		return l, err
	}
	if len(c.GetThresholds()) > 1 {
		return l, fmt.Errorf("%d thresholds", len(c.GetThresholds()))
	}
	for _, t := range c.GetThresholds() {
		l.Connections = or32(t.GetMaxConnections(), l.Connections)
		l.Pending = or32(t.GetMaxPendingRequests(), l.Pending)
		l.Requests = or32(t.GetMaxRequests(), l.Requests)
		l.Retries = or32(t.GetMaxRetries(), l.Retries)
		return l, only(t, "max_connections", "max_pending_requests", "max_requests", "max_retries")
	}
	return l, nil
}

func ejection(o *clusterv3.OutlierDetection) (Ejection, error) {
	if o == nil {
		return Ejection{}, nil
	}
	e := envoyEjection()
	return Ejection{
		Consecutive5xx: or32(o.GetConsecutive_5Xx(), e.Consecutive5xx),
		Enforcing:      or32(o.GetEnforcingConsecutive_5Xx(), e.Enforcing),
		Interval:       duration(o.GetInterval(), time.Duration(e.Interval)),
		BaseTime:       duration(o.GetBaseEjectionTime(), time.Duration(e.BaseTime)),
		MaxPercent:     or32(o.GetMaxEjectionPercent(), e.MaxPercent),
	}, only(o, "consecutive_5xx", "enforcing_consecutive_5xx", "interval", "base_ejection_time", "max_ejection_percent")
}

func http2(c *clusterv3.Cluster) (bool, error) {
	for name, packed := range c.GetTypedExtensionProtocolOptions() {
		o, err := unpack[*httpv3.HttpProtocolOptions](packed)
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
		explicit := o.GetExplicitHttpConfig()
		if explicit.GetHttp2ProtocolOptions() == nil {
			return false, fmt.Errorf("%s: not plain HTTP/2", name)
		}
		return true, errors.Join(only(o, "explicit_http_config"), only(explicit, "http2_protocol_options"),
			only(explicit.GetHttp2ProtocolOptions()))
	}
	return false, nil
}

// transport reads whom the sidecar expects. Its own certificate and the roots
// are the same for all and stay unread.
func transport(s *corev3.TransportSocket) (TLS, error) {
	if s == nil {
		return TLS{}, errors.New("no TLS")
	}
	c, err := unpack[*tlsv3.UpstreamTlsContext](s.GetTypedConfig())
	if err != nil {
		return TLS{}, err
	}
	common := c.GetCommonTlsContext()
	validation, params := common.GetValidationContext(), common.GetTlsParams()
	errs := []error{
		only(c, "common_tls_context", "sni"),
		only(common, "tls_params", "tls_certificates", "validation_context", "alpn_protocols"),
		only(params, "tls_minimum_protocol_version", "tls_maximum_protocol_version", "cipher_suites"),
		only(validation, "trusted_ca", "match_typed_subject_alt_names"),
	}
	t := TLS{
		SNI: c.GetSni(), ALPN: common.GetAlpnProtocols(),
		MinVersion: tlsVersion(params.GetTlsMinimumProtocolVersion()), MaxVersion: tlsVersion(params.GetTlsMaximumProtocolVersion()),
		Ciphers: params.GetCipherSuites(),
	}
	for _, m := range validation.GetMatchTypedSubjectAltNames() {
		if m.GetSanType() != tlsv3.SubjectAltNameMatcher_URI {
			errs = append(errs, fmt.Errorf("name of kind %s in the certificate", m.GetSanType()))
		}
		errs = append(errs, only(m, "san_type", "matcher"), only(m.GetMatcher(), "exact"))
		t.SANs = append(t.SANs, m.GetMatcher().GetExact())
	}
	slices.Sort(t.SANs)
	return t, errors.Join(errs...)
}

func tlsVersion(v tlsv3.TlsParameters_TlsProtocol) string {
	if v == tlsv3.TlsParameters_TLS_AUTO {
		return ""
	}
	return v.String()
}

// levelEndpoints are those of the cluster of that name. known is false as long
// as Consul has said nothing about them.
func (r *resources) levelEndpoints(name string) (list []Endpoint, known bool, err error) {
	a, known := r.endpoints[name]
	if !known {
		return nil, false, nil
	}
	errs := []error{only(a, "cluster_name", "endpoints")}
	for _, locality := range a.GetEndpoints() {
		errs = append(errs, only(locality, "lb_endpoints"))
		for _, e := range locality.GetLbEndpoints() {
			endpoint, err := endpoint(e)
			errs = append(errs, err)
			list = append(list, endpoint)
		}
	}
	slices.SortFunc(list, compareEndpoints)
	return list, true, errors.Join(errs...)
}

func endpoint(e *endpointv3.LbEndpoint) (Endpoint, error) {
	errs := []error{
		only(e, "endpoint", "health_status", "load_balancing_weight"),
		only(e.GetEndpoint(), "address"),
		only(e.GetEndpoint().GetAddress(), "socket_address"),
	}
	s := e.GetEndpoint().GetAddress().GetSocketAddress()
	out := Endpoint{
		Address: net.JoinHostPort(s.GetAddress(), strconv.Itoa(int(s.GetPortValue()))),
		Weight:  or32(e.GetLoadBalancingWeight(), 1),
	}
	switch e.GetHealthStatus() {
	case corev3.HealthStatus_HEALTHY, corev3.HealthStatus_UNKNOWN:
		out.Healthy = true
	case corev3.HealthStatus_UNHEALTHY:
	default:
		errs = append(errs, fmt.Errorf("health %s: not known", e.GetHealthStatus()))
	}
	return out, errors.Join(errs...)
}

func duration(d *durationpb.Duration, unset time.Duration) Duration {
	if d == nil {
		return Duration(unset)
	}
	return Duration(d.AsDuration())
}

func or32(v *wrapperspb.UInt32Value, unset uint32) uint32 {
	if v == nil {
		return unset
	}
	return v.GetValue()
}

func or64(v *wrapperspb.UInt64Value, unset uint64) uint64 {
	if v == nil {
		return unset
	}
	return v.GetValue()
}
