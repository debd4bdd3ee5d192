package grpcadapter

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

// Options are what the adapter needs of the mesh it belongs to.
type Options struct {
	// Directory holds the services.
	Directory *upstream.Directory
	// TLS returns the configuration for a connection to a target, which is
	// cloned. It may wait for it. Nil means plain text.
	TLS func(ctx context.Context, to *policy.Target) (*tls.Config, error)
	// Letters keeps durable calls with one request and one answer that have
	// failed for good. Nil means that none are kept.
	Letters *deadletter.Recorder
}

// DialOptions make a client connection go through the mesh. They install the
// resolver for Scheme without touching gRPC's global registry.
func DialOptions(o Options) []grpc.DialOption {
	c := &client{directory: o.Directory, letters: o.Letters}
	var secure credentials.TransportCredentials
	if secure = insecure.NewCredentials(); o.TLS != nil {
		secure = &transportCredentials{config: o.TLS}
	}
	return []grpc.DialOption{
		grpc.WithResolvers(&resolverBuilder{o.Directory}),
		grpc.WithTransportCredentials(secure),
		grpc.WithContextDialer(dial),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: redial, MinConnectTimeout: minConnect}),
		grpc.WithDisableRetry(), // the outbound path retries, with one budget and one classifier
		grpc.WithChainUnaryInterceptor(c.unary),
		grpc.WithChainStreamInterceptor(c.stream),
	}
}

// redial is how fast an instance that could not be reached is dialled again.
// Calls do not wait for it: they go elsewhere.
var redial = backoff.Config{BaseDelay: 250 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second}

// minConnect is gRPC's own bound on making a connection. It only has to be
// longer than the policy's, which dial and the credentials keep.
const minConnect = time.Minute

// dial connects to an instance within the connect timeout of its service.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout(ctx))
	defer cancel()
	return (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext(ctx, "tcp", addr)
}

// connectTimeout reads the timeout of the service that a connection is made
// for, which travels in the address.
func connectTimeout(ctx context.Context) time.Duration {
	if c := clusterOf(credentials.ClientHandshakeInfoFromContext(ctx).Attributes); c != nil {
		return time.Duration(c.View().Policy.Timeout.Connect)
	}
	return minConnect
}
