package grpcadapter

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"

	"github.com/innermesh/innermesh/policy"
)

// transportCredentials secure connections to instances. They are our own since
// gRPC's refuse peers that negotiate no ALPN, as Consul's sidecars do for
// services of protocol tcp, and since each target has its own configuration.
type transportCredentials struct {
	config func(ctx context.Context, to *policy.Target) (*tls.Config, error)
}

// ClientHandshake implements [credentials.TransportCredentials]. The service
// travels in the address; the authority is only a name.
func (c *transportCredentials) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	l := lineOf(credentials.ClientHandshakeInfoFromContext(ctx).Attributes)
	if l == nil {
		return nil, nil, errors.New("innermesh: connection to an address that is not the mesh's")
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout(ctx))
	defer cancel()
	target := &l.member.Cluster.Target
	config, err := c.config(ctx, target)
	if err != nil {
		return nil, nil, err
	}
	config = config.Clone()
	config.ServerName, config.NextProtos = cmp.Or(target.SNI, target.Service), []string{"h2"}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	return conn, authInfo(conn.ConnectionState()), nil
}

// ServerHandshake implements [credentials.TransportCredentials].
func (c *transportCredentials) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("innermesh: client credentials used by a server")
}

// Info implements [credentials.TransportCredentials].
func (c *transportCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements [credentials.TransportCredentials]; there is nothing to copy.
func (c *transportCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements [credentials.TransportCredentials], which has
// deprecated it: names follow from the target.
func (c *transportCredentials) OverrideServerName(string) error { return nil }
