package grpcadapter

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"

	"github.com/innermesh/innermesh/internal/upstream"
)

// Scheme is what mesh targets start with: "mesh:///payments".
const Scheme = "mesh"

// resolverBuilder gives each client connection its service.
type resolverBuilder struct{ directory *upstream.Directory }

// Scheme implements [resolver.Builder].
func (b *resolverBuilder) Scheme() string { return Scheme }

// Build implements [resolver.Builder]. gRPC calls it again when a connection
// that had gone idle is used.
func (b *resolverBuilder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	service := strings.ToLower(target.Endpoint())
	if service == "" || strings.ContainsAny(service, "/:") || target.URL.Host != "" {
		return nil, fmt.Errorf("target %q: want %s:///service", target.URL.String(), Scheme)
	}
	u, err := b.directory.Get(service)
	if err != nil {
		return nil, err
	}
	r := &meshResolver{upstream: u, cc: cc}
	r.stop = u.Watch(r.push)
	r.push()
	return r, nil
}

// meshResolver wakes the switchboard whenever members of the service have come
// or gone. It resolves nothing: the switchboard reads the members where they live.
type meshResolver struct {
	upstream *upstream.Upstream
	cc       resolver.ClientConn
	stop     func()
}

func (r *meshResolver) push() {
	// The error concerns resolvers that could look again; this one is told.
	_ = r.cc.UpdateState(resolver.State{
		Attributes:    attributes.New(upstreamKey{}, r.upstream),
		ServiceConfig: r.cc.ParseServiceConfig(`{"loadBalancingConfig":[{"` + switchboardName + `":{}}]}`),
	})
}

// ResolveNow implements [resolver.Resolver]; discovery is never late.
func (r *meshResolver) ResolveNow(resolver.ResolveNowOptions) {}

// Close implements [resolver.Resolver].
func (r *meshResolver) Close() { r.stop() }

// The keys of what travels through gRPC: the upstream to the switchboard, the
// line of an address to those who connect to it.
type (
	upstreamKey struct{}
	lineKey     struct{}
)

func upstreamOf(a *attributes.Attributes) *upstream.Upstream {
	u, _ := a.Value(upstreamKey{}).(*upstream.Upstream)
	return u
}

func lineOf(a *attributes.Attributes) *line {
	l, _ := a.Value(lineKey{}).(*line)
	return l
}
