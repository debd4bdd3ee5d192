package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/innermesh/innermesh/internal/grpcadapter"
	"github.com/innermesh/innermesh/tlsutil"
)

// ErrPlainText is returned where TLS is wanted of a program that has no identity.
var ErrPlainText = errors.New("this program serves in plain text: set Options.TLS")

// Listen listens on a TCP address such as ":8443". Connections that are accepted
// have their handshake behind them: both ends have shown certificates, which
// rotate under the listener, and the client is one that [TLSOptions].Authorize
// welcomes. HTTP/2 and HTTP/1.1 are negotiated; hand the listener to any
// http.Server, or to a grpc.Server that has [Mesh.GRPCServerOptions]. With
// [TLSPermissive] connections in plain text are accepted too, with [TLSOff] or
// without an identity no others.
//
// Who is refused never reaches Accept: it is counted ([Mesh.TLS]) and logged.
// Handshakes are bounded in time and number. Before Consul has given the first
// certificate they wait for it.
//
// ctx bounds the look-up of the address. The listener ends with its Close, or with
// that of the mesh.
func (m *Mesh) Listen(ctx context.Context, addr string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("innermesh: %w", err)
	}
	if m.security.handshaker != nil {
		l = m.security.handshaker.Listen(l)
	}
	m.onClose(func(context.Context) error { return ignoreEnded(l.Close()) })
	if m.closed() {
		return nil, ErrClosed
	}
	return l, nil
}

// ServerTLSConfig returns what [Mesh.Listen] secures connections with, for servers
// that do so by themselves:
//
//	server := &http.Server{Handler: h, TLSConfig: config}
//	server.ServeTLS(l, "", "")
//
// It lives as long as the mesh, certificates and terms change under it. It knows no
// [TLSPermissive], and of those who are refused only certificates are counted.
// Without an identity the error is [ErrPlainText].
func (m *Mesh) ServerTLSConfig() (*tls.Config, error) {
	if m.identity == nil {
		return nil, ErrPlainText
	}
	config := tlsutil.ServerConfig(m.identity, tlsutil.AuthorizeAny(), tlsutil.Options{}) // which answers nobody itself
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		s, err := m.serving(hello.Context())
		if err != nil {
			return nil, err
		}
		return s.counted, nil
	}
	return config, nil
}

// GRPCServerCredentials secure a gRPC server's connections, those that
// [Mesh.Listen] has accepted as well as others. They are part of
// [Mesh.GRPCServerOptions].
//
// Other than gRPC's own they take clients that negotiate no protocol, as Consul's
// built-in proxy and its sidecars for services of protocol tcp. A caller's
// certificate stands in the credentials.TLSInfo of its peer.
func (m *Mesh) GRPCServerCredentials() credentials.TransportCredentials {
	if m.security.handshaker == nil {
		return insecure.NewCredentials()
	}
	return grpcadapter.ServerCredentials(m.security.handshaker)
}

// closePrior lets requests end that the program's servers do not know of, and cuts
// them off when ctx ends.
func (m *Mesh) closePrior(ctx context.Context) error {
	if m.prior.Shutdown(ctx) == nil {
		return nil
	}
	return m.prior.Close()
}

// ignoreEnded forgives a listener that its server has closed before.
func ignoreEnded(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
