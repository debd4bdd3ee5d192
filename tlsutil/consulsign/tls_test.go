package consulsign_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/tlsutil/consulsign"
)

// Over the server's port for TLS, which negotiates no ALPN; a server of another
// name is not spoken to.
func TestOverTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, own(), own(), &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: raw}, "key": {Type: "PRIVATE KEY", Bytes: encoded}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	consultest.Start(t, consultest.Options{Config: fmt.Sprintf(
		`ports { grpc_tls = %d } tls { grpc { cert_file = "%[2]s/cert" key_file = "%[2]s/key" } }`, port, dir)})
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	o := consulsign.Options{
		Service: "web", Servers: []string{fmt.Sprintf("127.0.0.1:%d", port)},
		TLS: &tls.Config{RootCAs: pool, ServerName: "server.dc1.consul"},
	}
	first := start(t, o)
	for end := time.After(8 * time.Second); ; {
		if _, err := first.Identity(); err == nil {
			break
		}
		select {
		case <-end:
			t.Fatal(first.Err())
		case <-first.Changed():
		}
	}

	o.TLS = &tls.Config{RootCAs: pool, ServerName: "server.dc2.consul"}
	s := start(t, o)
	for changed := s.Changed(); s.Err() == nil; changed = s.Changed() {
		<-changed
	}
	if !strings.Contains(s.Err().Error(), "server.dc2.consul") {
		t.Errorf("got %v", s.Err())
	}
}

// own is the certificate of a Consul server that vouches for itself.
func own() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"server.dc1.consul"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}
