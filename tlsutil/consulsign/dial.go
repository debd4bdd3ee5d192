package consulsign

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	alpn "google.golang.org/grpc/experimental/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// dial connects to one of the servers, in an order of chance so that not all
// programs come to the same one, and to the next when it is gone.
func dial(o Options) (*grpc.ClientConn, error) {
	state := resolver.State{}
	for _, i := range rand.Perm(len(o.Servers)) {
		address := resolver.Address{Addr: o.Servers[i]}
		if host, _, err := net.SplitHostPort(address.Addr); err == nil {
			address.ServerName = host
		}
		if o.TLS != nil && o.TLS.ServerName != "" {
			address.ServerName = o.TLS.ServerName // grpc-go would prefer the host
		}
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{address}})
		state.Addresses = append(state.Addresses, address)
	}
	servers := manual.NewBuilderWithScheme("consul")
	servers.InitialState(state)
	return grpc.NewClient("consul:///servers",
		grpc.WithResolvers(servers),
		grpc.WithTransportCredentials(secured(o.TLS)),
		grpc.WithNoProxy(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// A server that is gone without a word is noticed; Consul allows one such
		// question in 15 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	)
}

// secured are the credentials: Consul's servers negotiate no ALPN, on which
// grpc-go insists otherwise.
func secured(config *tls.Config) credentials.TransportCredentials {
	if config == nil {
		return insecure.NewCredentials()
	}
	return alpn.NewTLSWithALPNDisabled(config)
}

// withToken sends the token with a call.
func withToken(ctx context.Context, token string) context.Context {
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "x-consul-token", token)
}
