package parity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/innermesh/innermesh/internal/consultest"
)

// quiet is for how long Consul must have nothing to add to a complete answer.
const quiet = 200 * time.Millisecond

// Oracle asks a running Consul what the sidecar of a caller would do. It is safe
// for concurrent use.
type Oracle struct {
	client *api.Client
	conn   *grpc.ClientConn
	ads    discoveryv3.AggregatedDiscoveryServiceClient
}

// Question names a caller and the service that it calls.
type Question struct {
	// Caller is the name of the calling service. Its service-defaults count.
	Caller string
	// Service is the name of the upstream.
	Service string
	// Config is that of the upstream in the registration of the caller's proxy, as
	// in {"protocol": "http"}. It wins over all config entries.
	Config map[string]any
}

// NewOracle returns one for that agent; Close it.
func NewOracle(agent *consultest.Agent) (*Oracle, error) {
	client, err := agent.Client()
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(agent.GRPCAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("connect to Consul at %s: %w", agent.GRPCAddr, err)
	}
	return &Oracle{client, conn, discoveryv3.NewAggregatedDiscoveryServiceClient(conn)}, nil
}

// Close ends the connection.
func (o *Oracle) Close() error { return o.conn.Close() }

// Ask registers a sidecar for the caller, listens until Consul has told it all,
// and removes it. It fails when ctx ends before that, and says what was missing.
func (o *Oracle) Ask(ctx context.Context, q Question) (*Upstream, error) {
	proxy, err := o.register(ctx, q)
	if err != nil {
		return nil, err
	}
	defer func() {
		// Whoever asked may have had no more time; the proxy must go all the same.
		_ = o.client.Agent().ServiceDeregisterOpts(proxy, (&api.QueryOptions{}).WithContext(context.WithoutCancel(ctx)))
	}()
	expected, err := o.instances(ctx, q.Service)
	if err != nil {
		return nil, err
	}
	u, err := o.listen(ctx, proxy, q.Service, expected)
	if err != nil {
		return nil, fmt.Errorf("ask about %s for %s: %w", q.Service, q.Caller, err)
	}
	return u, o.judge(ctx, u)
}

// register adds nothing but the proxy: Consul does not ask for the service
// behind it.
func (o *Oracle) register(ctx context.Context, q Question) (id string, err error) {
	id = q.Caller + "-sidecar-proxy"
	err = o.client.Agent().ServiceRegisterOpts(&api.AgentServiceRegistration{
		Kind: api.ServiceKindConnectProxy, ID: id, Name: id, Port: 9000,
		Proxy: &api.AgentServiceConnectProxyConfig{
			DestinationServiceName: q.Caller, LocalServicePort: 9001,
			Upstreams: []api.Upstream{{DestinationName: q.Service, LocalBindPort: 9002, Config: q.Config}},
		},
	}, api.ServiceRegisterOpts{}.WithContext(ctx))
	if err != nil {
		return "", fmt.Errorf("register the sidecar of %s: %w", q.Caller, err)
	}
	return id, nil
}

// listen reads the stream until its content is complete and nothing follows.
func (o *Oracle) listen(ctx context.Context, proxy, service string, expected map[string]int) (*Upstream, error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	s, err := openStream(ctx, o.ads, proxy, service)
	if err != nil {
		return nil, err
	}
	responses := make(chan *discoveryv3.DeltaDiscoveryResponse)
	ended := make(chan error, 1)
	wg.Go(func() { ended <- s.receive(ctx, responses) })

	settled := time.NewTimer(quiet)
	defer settled.Stop()
	for {
		select {
		case resp := <-responses:
			if err := s.take(resp); err != nil {
				return nil, err
			}
			settled.Reset(quiet)
		case <-settled.C:
			u, err := s.complete(service, expected)
			if _, missing := errors.AsType[missingError](err); !missing {
				return u, err
			}
			settled.Reset(quiet)
		case err := <-ended:
			_, missing := s.complete(service, expected)
			return nil, errors.Join(err, missing)
		case <-ctx.Done():
			_, missing := s.complete(service, expected)
			return nil, errors.Join(context.Cause(ctx), missing)
		}
	}
}

// complete reduces what there is, and fails with a missingError if it is not
// all.
func (s *stream) complete(service string, expected map[string]int) (*Upstream, error) {
	u, err := s.resources.upstream(service)
	if err != nil {
		return nil, err
	}
	for _, c := range u.Clusters {
		for _, l := range c.Levels {
			if n, ok := expected[l.Target]; ok && (!l.Known || len(l.Endpoints) != n) {
				return nil, missingError{fmt.Sprintf("%d endpoints of %s (%d)", n, l.Target, len(l.Endpoints))}
			}
		}
	}
	return u, nil
}

// instances counts those of each target of the service's chain. A target is left
// out if nobody knows its datacenter, or if it is reached through a gateway.
func (o *Oracle) instances(ctx context.Context, service string) (map[string]int, error) {
	var compiled struct {
		Chain struct {
			Datacenter string
			Targets    map[string]struct {
				Service, Datacenter string
				Subset              struct{ Filter string }
				MeshGateway         struct{ Mode string }
			}
		}
	}
	options := (&api.QueryOptions{}).WithContext(ctx)
	if _, err := o.client.Raw().Query("/v1/discovery-chain/"+service, &compiled, options); err != nil {
		return nil, fmt.Errorf("read the chain of %s: %w", service, err)
	}
	counts := map[string]int{}
	for id, t := range compiled.Chain.Targets {
		if t.Datacenter != compiled.Chain.Datacenter && t.MeshGateway.Mode != "" && t.MeshGateway.Mode != "none" {
			continue
		}
		options := (&api.QueryOptions{Datacenter: t.Datacenter, Filter: t.Subset.Filter}).WithContext(ctx)
		entries, _, err := o.client.Health().Connect(t.Service, "", false, options)
		if status, ok := asStatus(err); ok && strings.Contains(status.Body, "No path to datacenter") {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the instances of %s: %w", id, err)
		}
		counts[id] = len(entries)
	}
	return counts, nil
}
