package grpcadapter

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"

	"google.golang.org/grpc/credentials"

	"github.com/innermesh/innermesh/internal/listener"
)

// ServerCredentials are the transport credentials of a server. They take
// connections whose handshake is behind them, as a [listener.Listener] hands them
// out, and secure those that come from any other. Clients need not negotiate the
// protocol (ALPN): Consul's sidecars for services of protocol tcp do not, nor does
// its built-in proxy.
func ServerCredentials(h *listener.Handshaker) credentials.TransportCredentials {
	return &serverCredentials{h}
}

type serverCredentials struct{ handshaker *listener.Handshaker }

// ServerHandshake implements [credentials.TransportCredentials]. gRPC gives every
// connection a goroutine of its own.
func (c *serverCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn := raw
	switch raw.(type) {
	case *tls.Conn, *listener.Plain:
	default:
		var err error
		if conn, err = c.handshaker.Handshake(context.Background(), raw); err != nil {
			return nil, nil, err
		}
	}
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return conn, PlainInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}, nil
	}
	if err := secured.HandshakeContext(context.Background()); err != nil { // of a listener that is not ours
		return nil, nil, err
	}
	return conn, authInfo(secured.ConnectionState()), nil
}

// ClientHandshake implements [credentials.TransportCredentials].
func (c *serverCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("innermesh: server credentials used by a client")
}

// Info implements [credentials.TransportCredentials].
func (c *serverCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements [credentials.TransportCredentials]; there is nothing to copy.
func (c *serverCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements [credentials.TransportCredentials], which has
// deprecated it.
func (c *serverCredentials) OverrideServerName(string) error { return nil }

// PlainInfo is what is known of a caller that came in plain text: nothing.
type PlainInfo struct{ credentials.CommonAuthInfo }

// AuthType implements [credentials.AuthInfo].
func (PlainInfo) AuthType() string { return "insecure" }

// authInfo is what gRPC's own credentials say of a connection.
func authInfo(state tls.ConnectionState) credentials.TLSInfo {
	info := credentials.TLSInfo{
		State:          state,
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}
	if len(state.PeerCertificates) > 0 && len(state.PeerCertificates[0].URIs) == 1 {
		id := state.PeerCertificates[0].URIs[0]
		info.SPIFFEID = &url.URL{Scheme: id.Scheme, Host: id.Host, Path: id.Path}
	}
	return info
}
