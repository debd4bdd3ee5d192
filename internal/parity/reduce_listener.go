package parity

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_http1_bridge/v3" // named by listeners
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_stats/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

// upstream reduces the listener of that service and everything behind it. It
// fails with a missingError as long as something is still to come.
func (r *resources) upstream(service string) (*Upstream, error) {
	l := r.listener(service)
	if l == nil {
		return nil, missingError{"listener " + service}
	}
	u := &Upstream{Service: service, Clusters: map[string]Cluster{}}
	if err := errors.Join(
		only(l, "name", "address", "filter_chains", "traffic_direction", "stat_prefix"),
		r.filters(u, l),
	); err != nil {
		return nil, fmt.Errorf("listener %s: %w", l.GetName(), err)
	}
	return u, nil
}

// listener finds it by its name, "service:address:port".
func (r *resources) listener(service string) *listenerv3.Listener {
	for name, l := range r.listeners {
		if strings.HasPrefix(name, service+":") {
			return l
		}
	}
	return nil
}

func (r *resources) filters(u *Upstream, l *listenerv3.Listener) error {
	if len(l.GetFilterChains()) != 1 || len(l.GetFilterChains()[0].GetFilters()) != 1 {
		return errors.New("not one chain of one filter")
	}
	chain := l.GetFilterChains()[0]
	if err := only(chain, "filters"); err != nil {
		return err
	}
	m, err := chain.GetFilters()[0].GetTypedConfig().UnmarshalNew()
	if err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	switch f := m.(type) {
	case *tcpv3.TcpProxy:
		u.Protocol = "tcp"
		if err := only(f, "stat_prefix", "cluster"); err != nil {
			return err
		}
		u.TCP, err = r.target(u, f.GetCluster())
		return err
	case *hcmv3.HttpConnectionManager:
		return r.http(u, f)
	default:
		return fmt.Errorf("filter %T: not known", f)
	}
}

func (r *resources) http(u *Upstream, f *hcmv3.HttpConnectionManager) error {
	// Tracing samples nothing, and upgrades are the caller's business.
	if err := only(f, "stat_prefix", "rds", "route_config", "http_filters", "tracing", "http2_protocol_options",
		"upgrade_configs", "stream_idle_timeout"); err != nil {
		return err
	}
	var filters []string
	for _, h := range f.GetHttpFilters() {
		filters = append(filters, strings.TrimPrefix(h.GetName(), "envoy.filters.http."))
	}
	switch {
	case slices.Equal(filters, []string{"grpc_stats", "grpc_http1_bridge", "router"}) && f.GetHttp2ProtocolOptions() != nil:
		u.Protocol = "grpc"
	case slices.Equal(filters, []string{"router"}) && f.GetHttp2ProtocolOptions() != nil:
		u.Protocol = "http2"
	case slices.Equal(filters, []string{"router"}):
		u.Protocol = "http"
	default:
		return fmt.Errorf("filters %q: not known", filters)
	}
	config := f.GetRouteConfig()
	if name := f.GetRds().GetRouteConfigName(); name != "" {
		config = r.routes[name]
		if config == nil {
			return missingError{"routes " + name}
		}
	}
	idle := duration(f.GetStreamIdleTimeout(), 5*time.Minute)
	return r.routing(u, config, idle)
}

func (r *resources) routing(u *Upstream, config *routev3.RouteConfiguration, idle Duration) error {
	// validate_clusters asks Envoy to refuse routes that lead nowhere, as we do.
	if err := only(config, "name", "virtual_hosts", "validate_clusters"); err != nil {
		return err
	}
	if len(config.GetVirtualHosts()) != 1 {
		return fmt.Errorf("routes %s: %d virtual hosts", config.GetName(), len(config.GetVirtualHosts()))
	}
	host := config.GetVirtualHosts()[0]
	if err := only(host, "name", "domains", "routes"); err != nil {
		return err
	}
	if !slices.Equal(host.GetDomains(), []string{"*"}) {
		return fmt.Errorf("routes %s: only for %q", config.GetName(), host.GetDomains())
	}
	for i, in := range host.GetRoutes() {
		route, err := r.route(u, in, idle)
		if err != nil {
			return fmt.Errorf("route %d: %w", i, err)
		}
		u.Routes = append(u.Routes, route)
	}
	return nil
}

// target reduces the cluster of that name, unless u has it, and returns its key.
func (r *resources) target(u *Upstream, name string) (string, error) {
	id, err := targetID(name)
	if err != nil {
		return "", err
	}
	if _, ok := u.Clusters[id]; ok {
		return id, nil
	}
	c, err := r.cluster(name)
	u.Clusters[id] = c
	return id, err
}
