package parity

import (
	"context"
	"errors"
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

const (
	typePrefix   = "type.googleapis.com/"
	clusterType  = typePrefix + "envoy.config.cluster.v3.Cluster"
	endpointType = typePrefix + "envoy.config.endpoint.v3.ClusterLoadAssignment"
	listenerType = typePrefix + "envoy.config.listener.v3.Listener"
	routeType    = typePrefix + "envoy.config.route.v3.RouteConfiguration"
)

// missingError says what a sidecar would still be waiting for.
type missingError struct{ what string }

func (e missingError) Error() string { return e.what + " is not there yet" }

// resources are what Consul has told a sidecar so far.
type resources struct {
	clusters  map[string]*clusterv3.Cluster
	endpoints map[string]*endpointv3.ClusterLoadAssignment
	listeners map[string]*listenerv3.Listener
	routes    map[string]*routev3.RouteConfiguration
}

func newResources() *resources {
	return &resources{
		clusters:  map[string]*clusterv3.Cluster{},
		endpoints: map[string]*endpointv3.ClusterLoadAssignment{},
		listeners: map[string]*listenerv3.Listener{},
		routes:    map[string]*routev3.RouteConfiguration{},
	}
}

// stream is the sidecar's side of a delta stream. It is not safe for concurrent
// use, but receive may run beside the rest.
type stream struct {
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	resources *resources
	service   string // the name of the routes wanted
}

// openStream says hello as the Envoy of that proxy. It ends with ctx.
func openStream(ctx context.Context, client discoveryv3.AggregatedDiscoveryServiceClient, proxy, service string) (*stream, error) {
	delta, err := client.DeltaAggregatedResources(ctx)
	if err != nil {
		return nil, fmt.Errorf("open delta stream: %w", err)
	}
	s := &stream{delta, newResources(), service}
	// Consul refuses versions of Envoy that it does not know.
	node := &corev3.Node{
		Id: proxy, Cluster: proxy, UserAgentName: "envoy",
		UserAgentVersionType: &corev3.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corev3.BuildVersion{
			Version: &typev3.SemanticVersion{MajorNumber: 1, MinorNumber: 34},
		}},
	}
	for _, t := range []string{clusterType, listenerType} {
		if err := s.Send(&discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: t}); err != nil {
			return nil, fmt.Errorf("subscribe to %s: %w", t, err)
		}
	}
	return s, nil
}

// receive hands over what Consul sends until the stream ends, and why it did.
func (s *stream) receive(ctx context.Context, to chan<- *discoveryv3.DeltaDiscoveryResponse) error {
	for {
		resp, err := s.Recv()
		if err != nil {
			return fmt.Errorf("read delta stream: %w", err)
		}
		select {
		case to <- resp:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// take keeps what resp says, acknowledges it and asks for what it leads to.
func (s *stream) take(resp *discoveryv3.DeltaDiscoveryResponse) error {
	errs := make([]error, 0, len(resp.GetResources()))
	names := make([]string, 0, len(resp.GetResources()))
	for _, res := range resp.GetResources() {
		names = append(names, res.GetName())
		errs = append(errs, s.resources.put(res))
	}
	for _, name := range resp.GetRemovedResources() {
		s.resources.remove(resp.GetTypeUrl(), name)
	}
	next := []*discoveryv3.DeltaDiscoveryRequest{{TypeUrl: resp.GetTypeUrl(), ResponseNonce: resp.GetNonce()}}
	switch resp.GetTypeUrl() {
	case clusterType:
		next = append(next, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: endpointType, ResourceNamesSubscribe: names})
	case listenerType:
		next = append(next, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: routeType, ResourceNamesSubscribe: []string{s.service}})
	}
	for _, req := range next {
		errs = append(errs, s.Send(req))
	}
	return errors.Join(errs...)
}

func (r *resources) put(res *discoveryv3.Resource) error {
	// Not everything that Consul tells is about the upstream, and what is not may
	// have types that are not linked in: it is unpacked only where it is used.
	m, err := res.GetResource().UnmarshalNew()
	if err != nil {
		return fmt.Errorf("resource %s: %w", res.GetName(), err)
	}
	switch m := m.(type) {
	case *clusterv3.Cluster:
		r.clusters[res.GetName()] = m
	case *endpointv3.ClusterLoadAssignment:
		r.endpoints[res.GetName()] = m
	case *listenerv3.Listener:
		r.listeners[res.GetName()] = m
	case *routev3.RouteConfiguration:
		r.routes[res.GetName()] = m
	default:
		return fmt.Errorf("resource %s: %T was not asked for", res.GetName(), m)
	}
	return nil
}

func (r *resources) remove(typeURL, name string) {
	switch typeURL {
	case clusterType:
		delete(r.clusters, name)
	case endpointType:
		delete(r.endpoints, name)
	case listenerType:
		delete(r.listeners, name)
	case routeType:
		delete(r.routes, name)
	}
}
