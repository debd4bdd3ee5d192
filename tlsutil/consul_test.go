package tlsutil

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificates that Consul 1.22.3 gave out after its CA was rotated: the leaf
// comes with the new CA cross-signed by the old one, so both roots verify it.
func TestConsulCertificates(t *testing.T) {
	read := func(name string) []*x509.Certificate {
		b, err := os.ReadFile(filepath.Join("testdata", "consul", name))
		if err != nil {
			t.Fatal(err)
		}
		certs, err := ParseCerts(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return certs
	}
	const domain = "fc08009f-7c03-e149-1855-31958d06f235.consul"
	leaf, second := read("leaf-after-rotation.pem"), read("leaf-secondary-dc.pem")
	oldRoot, newRoot := read("root-old.pem"), read("root-new.pem")
	now := leaf[0].NotBefore.Add(time.Hour)
	for _, test := range []struct {
		name  string
		chain []*x509.Certificate
		roots []*x509.Certificate
		dc    string
		err   error
	}{
		{"both roots", leaf, append(newRoot, oldRoot...), "dc1", nil},
		{"new root", leaf, newRoot, "dc1", nil},
		{"old root", leaf, oldRoot, "dc1", nil},
		{"old root without the cross-signed CA", leaf[:1], oldRoot, "dc1", ErrUntrusted},
		{"secondary datacenter", second, newRoot, "dc2", nil},
		{"secondary datacenter without intermediates", second[:1], newRoot, "dc2", ErrUntrusted},
	} {
		roots, err := NewRoots(map[string][]*x509.Certificate{domain: test.roots})
		if err != nil {
			t.Fatal(err)
		}
		want, err := ServiceID{TrustDomain: domain, Datacenter: test.dc, Service: "web"}.ID()
		if err != nil {
			t.Fatal(err)
		}
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			self := &Identity{id: want, roots: roots}
			err := verify(test.chain, self, usage, AuthorizeID(want), now)
			if !errors.Is(err, test.err) {
				t.Errorf("%s: got %v, want %v", test.name, err, test.err)
			}
		}
	}
	if id, err := leafID(newRoot[0]); !errors.Is(err, ErrNotLeaf) {
		t.Errorf("a root passes for %s: %v", id, err)
	}
}
