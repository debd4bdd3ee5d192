package mesh_test

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

// Mutual TLS with the mesh at both ends, beside crypto/tls with net/http or gRPC at
// both, which demand a certificate of the same CA and know nothing of services.

// BenchmarkHTTPListen is a request over a connection that is there.
func BenchmarkHTTPListen(b *testing.B) {
	ca := devCA(b)
	meshed := servedHTTP(b, listening(b, ca, "web"), http.HandlerFunc(ok))
	raw := rawServed(b, ca, "web", "http/1.1")
	m := newMesh(b, mesh.Options{Discovery: addresses{"web": {meshed}}, TLS: mesh.TLSOptions{DevCA: ca}})
	loads(b, getter(b, m.HTTPClient(), "http://web/"),
		way{"raw", getter(b, rawClient(b, rawClientTLS(b, ca, "http/1.1")), "https://"+raw+"/")})
}

// BenchmarkGRPCListen is a unary call over a connection that is there. timed is
// raw with a deadline, as the mesh gives to each call.
func BenchmarkGRPCListen(b *testing.B) {
	ca := devCA(b)
	server := listening(b, ca, "pay")
	s := grpc.NewServer(server.GRPCServerOptions()...)
	healthpb.RegisterHealthServer(s, health.NewServer())
	l := listened(b, server)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	b.Cleanup(func() { s.Stop(); <-done })
	meshed := payClient(b, mesh.Options{Discovery: addresses{"pay": {l.Addr().String()}}, TLS: mesh.TLSOptions{DevCA: ca}})
	raw := dialRaw(b, healthServer(b, grpc.Creds(credentials.NewTLS(rawServerTLS(b, ca, "pay", "h2")))),
		credentials.NewTLS(rawClientTLS(b, ca, "h2")))
	loads(b, checker(b, meshed), way{"raw", checker(b, raw)}, way{"timed", timed(b, raw)})
}

// listening is a program whose server is measured.
func listening(b *testing.B, ca *tlsutil.DevCA, service string) *mesh.Mesh {
	b.Helper()
	return developed(b, ca, service, mesh.Options{Discovery: discovery.Static{}})
}

// rawServed serves the same as the mesh's listener, with crypto/tls and net/http
// alone.
func rawServed(b *testing.B, ca *tlsutil.DevCA, service, alpn string) (addr string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{
		Handler: http.HandlerFunc(ok), ReadHeaderTimeout: 10 * time.Second, TLSConfig: rawServerTLS(b, ca, service, alpn),
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ServeTLS(l, "", "") }()
	b.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

func rawServerTLS(b *testing.B, ca *tlsutil.DevCA, service, alpn string) *tls.Config {
	b.Helper()
	own, roots := rawIdentity(b, ca, service)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{alpn}, Certificates: []tls.Certificate{own},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
	}
}

func rawClientTLS(b *testing.B, ca *tlsutil.DevCA, alpn string) *tls.Config {
	b.Helper()
	own, roots := rawIdentity(b, ca, "checkout")
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{alpn}, Certificates: []tls.Certificate{own},
		InsecureSkipVerify: true, // certificates name no hosts
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots})
			return err
		},
	}
}

// rawIdentity is a certificate as crypto/tls holds it, and the roots.
func rawIdentity(b *testing.B, ca *tlsutil.DevCA, service string) (tls.Certificate, *x509.CertPool) {
	b.Helper()
	dir := b.TempDir()
	if _, err := ca.WriteFiles(dir, service); err != nil {
		b.Fatal(err)
	}
	own, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		b.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		b.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		b.Fatal("no roots")
	}
	return own, roots
}
