package grpcadapter

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/internal/tcp"
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
		grpc.WithKeepaliveParams(pings),
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

// pings find the peer that has gone without a word while calls wait for it. More
// often than every five minutes, gRPC's own servers in Go hang up on us
// (ENHANCE_YOUR_CALM, too_many_pings), where nobody has told them otherwise. The
// policy's word on pings can not be obeyed: gRPC takes its own for all connections
// of a client connection.
var pings = keepalive.ClientParameters{Time: 330 * time.Second, Timeout: 20 * time.Second}

// dial connects to an instance within the connect timeout of its service, which
// begins anew once limits.connections lets it. Calls do not wait for that.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	l := lineOf(credentials.ClientHandshakeInfoFromContext(ctx).Attributes)
	if l == nil {
		return dialer.DialContext(ctx, "tcp", addr)
	}
	c := l.member.Cluster
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout(ctx))
	defer cancel()
	made, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		c.Quota().Leave()
		return nil, err
	}
	_ = tcp.SetUnacked(made, time.Duration(c.View().Policy.Connections.Unacked)) // a dead peer is then noticed late
	return &counted{Conn: made, leave: sync.OnceFunc(c.Quota().Leave)}, nil
}

var dialer = net.Dialer{KeepAlive: 15 * time.Second}

// counted is a connection that gives its place back when it is closed. gRPC does
// not see the system's own connection, whose settings it would change.
type counted struct {
	net.Conn
	leave func()
}

// Close implements [net.Conn].
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// connectTimeout reads the timeout of the service that a connection is made
// for, which travels in the address.
func connectTimeout(ctx context.Context) time.Duration {
	if l := lineOf(credentials.ClientHandshakeInfoFromContext(ctx).Attributes); l != nil {
		return time.Duration(l.member.Cluster.View().Policy.Timeout.Connect)
	}
	return minConnect
}
