package parity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/consul/api"
)

// Guard is what the sidecar of a service asks of requests that come in: the
// filter of its intentions.
type Guard struct{ rules *rbacv3.RBAC }

// Guard registers a sidecar for the service and returns its filter. Envoy lets
// everybody in if there is none.
func (o *Oracle) Guard(ctx context.Context, service string) (*Guard, error) {
	proxy := service + "-sidecar-proxy"
	err := o.client.Agent().ServiceRegisterOpts(&api.AgentServiceRegistration{
		Kind: api.ServiceKindConnectProxy, ID: proxy, Name: proxy, Port: 9000,
		Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: service, LocalServicePort: 9001},
	}, api.ServiceRegisterOpts{}.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("register the sidecar of %s: %w", service, err)
	}
	defer func() {
		_ = o.client.Agent().ServiceDeregisterOpts(proxy, (&api.QueryOptions{}).WithContext(context.WithoutCancel(ctx))) // as in Ask
	}()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	s, err := openStream(ctx, o.ads, proxy, service)
	if err != nil {
		return nil, err
	}
	responses, ended := make(chan *discoveryv3.DeltaDiscoveryResponse), make(chan error, 1)
	wg.Go(func() { ended <- s.receive(ctx, responses) })
	for {
		select {
		case resp := <-responses:
			if err := s.take(resp); err != nil {
				return nil, err
			}
			for name, l := range s.resources.listeners {
				if strings.HasPrefix(name, "public_listener:") {
					return guardOf(l)
				}
			}
		case err := <-ended:
			return nil, err
		}
	}
}

func guardOf(l *listenerv3.Listener) (*Guard, error) {
	for _, chain := range l.GetFilterChains() {
		for _, f := range chain.GetFilters() {
			if f.GetName() != "envoy.filters.network.http_connection_manager" {
				continue
			}
			var manager hcmv3.HttpConnectionManager
			if err := f.GetTypedConfig().UnmarshalTo(&manager); err != nil {
				return nil, err
			}
			for _, h := range manager.GetHttpFilters() {
				if h.GetName() != "envoy.filters.http.rbac" {
					continue
				}
				var filter httprbacv3.RBAC
				if err := h.GetTypedConfig().UnmarshalTo(&filter); err != nil {
					return nil, err
				}
				return &Guard{filter.GetRules()}, only(&filter, "rules")
			}
			return &Guard{}, nil
		}
	}
	return nil, errors.New("the sidecar does not speak HTTP to its callers")
}

// Call is a request as the filter sees it.
type Call struct {
	// Principal is the caller's SPIFFE ID.
	Principal    string
	Method, Path string
	// Header has lower-case names.
	Header map[string]string
	// Tokens are the claims of those found good, by provider.
	Tokens map[string]map[string]any
}

// Allows says what the filter does, as Envoy's documentation of it has it.
func (g *Guard) Allows(c *Call) (bool, error) {
	if g.rules == nil {
		return true, nil
	}
	hit := false
	for name, p := range g.rules.GetPolicies() {
		if p.GetCondition() != nil {
			return false, fmt.Errorf("policy %s: conditions are not known", name)
		}
		may, err := anyOf(p.GetPermissions(), c.permission)
		if err != nil {
			return false, fmt.Errorf("policy %s: %w", name, err)
		}
		who, err := anyOf(p.GetPrincipals(), c.principal)
		if err != nil {
			return false, fmt.Errorf("policy %s: %w", name, err)
		}
		hit = hit || may && who
	}
	switch g.rules.GetAction() {
	case rbacv3.RBAC_ALLOW:
		return hit, nil
	case rbacv3.RBAC_DENY:
		return !hit, nil
	case rbacv3.RBAC_LOG:
	}
	return false, fmt.Errorf("the action %s is not known", g.rules.GetAction())
}
