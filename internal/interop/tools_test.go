package interop

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

// leaf is a certificate in files, as tools want it.
type leaf struct{ cert, key, roots string }

// fetched is what Consul's agent gives for a service.
func fetched(t *testing.T, agent *consultest.Agent, service string) leaf {
	t.Helper()
	client, err := agent.Client()
	if err != nil {
		t.Fatal(err)
	}
	certificate, _, err := client.Agent().ConnectCALeaf(service, nil)
	if err != nil {
		t.Fatal(err)
	}
	roots, _, err := client.Agent().ConnectCARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l := leaf{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.crt")}
	var all strings.Builder
	for _, r := range roots.Roots {
		all.WriteString(r.RootCertPEM)
	}
	for path, text := range map[string]string{l.cert: certificate.CertPEM, l.key: certificate.PrivateKeyPEM, l.roots: all.String()} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// forged is self-signed, with a name that is welcome.
func forged(t *testing.T, id string) leaf {
	t.Helper()
	dir := t.TempDir()
	l := leaf{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "tls.crt")}
	out, err := run(t, "", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-subj", "/", "-addext", "subjectAltName=URI:"+id, "-addext", "basicConstraints=critical,CA:FALSE",
		"-keyout", l.key, "-out", l.cert, "-days", "2")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return l
}

const request = "GET /z HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"

func refusals(m *mesh.Mesh, reason tlsutil.Reason) (n uint64) {
	for _, r := range m.TLS().Refused {
		if r.Role == "server" && r.Reason == reason {
			n += r.Count
		}
	}
	return n
}

// counted waits until so many were refused for a reason.
func counted(t *testing.T, m *mesh.Mesh, reason tlsutil.Reason, want uint64) {
	t.Helper()
	eventually(t, string(reason), func() error {
		if n := refusals(m, reason); n != want {
			return fmt.Errorf("%d are counted, want %d: %+v", n, want, m.TLS().Refused)
		}
		return nil
	})
}

// webOf serves one caller.
func webOf(t *testing.T, agent *consultest.Agent, web, shop string) (m *mesh.Mesh, address string) {
	t.Helper()
	m = member(t, agent, web, mesh.Options{TLS: mesh.TLSOptions{Authorize: tlsutil.AuthorizeService(shop)}})
	return m, at(served(t, meshListener(t, m), m.Middleware(http.HandlerFunc(whoCalls)), nil))
}

func TestOpenSSL(t *testing.T) {
	program(t, "openssl")
	agent := consultest.Shared(t)
	web, shop := consultest.Name(t, "web"), consultest.Name(t, "shop")
	server, address := webOf(t, agent, web, shop)
	good, other := fetched(t, agent, shop), fetched(t, agent, consultest.Name(t, "other"))
	connect := func(args ...string) (string, error) {
		return run(t, request, "openssl", append([]string{"s_client", "-connect", address, "-ign_eof"}, args...)...)
	}
	with := func(l leaf, more ...string) []string {
		return append([]string{"-cert", l.cert, "-key", l.key, "-CAfile", l.roots, "-verify_return_error"}, more...)
	}
	for _, alpn := range [][]string{nil, {"-alpn", "http/1.1"}} {
		out, err := connect(with(good, alpn...)...)
		if err != nil || !strings.Contains(out, "HTTP/1.1 200 OK") || !strings.Contains(out, "HTTP/1.1 /z "+shop) ||
			!strings.Contains(out, "TLSv1.3") || !strings.Contains(out, "Verification: OK") {
			t.Errorf("%q: %v\n%s", alpn, err, out)
		}
	}
	refused := func(reason tlsutil.Reason, args ...string) {
		t.Helper()
		before := refusals(server, reason)
		out, _ := connect(args...)
		if strings.Contains(out, "200 OK") || !strings.Contains(out, "alert") {
			t.Errorf("%s: got\n%s", reason, out)
		}
		counted(t, server, reason, before+1)
	}
	self := forged(t, server.TLS().ID.String())
	self.roots = good.roots
	refused(tlsutil.ReasonNoCertificate)
	refused(tlsutil.ReasonDenied, with(other)...)
	refused(tlsutil.ReasonUntrusted, with(self)...)
	refused(tlsutil.ReasonVersion, with(good, "-tls1_2")...)
	foreign := forged(t, "spiffe://elsewhere.internal/ns/default/dc/dc1/svc/"+shop)
	foreign.roots = good.roots
	refused(tlsutil.ReasonTrustDomain, with(foreign)...)
}

func TestCurl(t *testing.T) {
	program(t, "curl")
	agent := consultest.Shared(t)
	web, shop := consultest.Name(t, "web"), consultest.Name(t, "shop")
	server, address := webOf(t, agent, web, shop)
	good, other := fetched(t, agent, shop), fetched(t, agent, consultest.Name(t, "other"))
	// -k since certificates name no hosts.
	for version, want := range map[string]string{"--http1.1": "HTTP/1.1", "--http2": "HTTP/2.0"} {
		out, err := run(t, "", "curl", "-sS", "-k", version, "--cert", good.cert, "--key", good.key, "https://"+address+"/c")
		if err != nil || out != want+" /c "+shop {
			t.Errorf("%s: %v, %s", version, err, out)
		}
	}
	for reason, args := range map[tlsutil.Reason][]string{
		tlsutil.ReasonNoCertificate: nil, tlsutil.ReasonDenied: {"--cert", other.cert, "--key", other.key},
	} {
		out, err := run(t, "", "curl", append([]string{"-sS", "-k", "https://" + address + "/c"}, args...)...)
		if err == nil || strings.Contains(out, "/c") {
			t.Errorf("%s: %v, %s", reason, err, out)
		}
		counted(t, server, reason, 1)
	}
	out, err := run(t, "", "curl", "-sS", "http://"+address+"/c")
	if err != nil || !strings.Contains(out, "mutual TLS only") {
		t.Errorf("in plain text: %v, %s", err, out)
	}
	counted(t, server, tlsutil.ReasonPlaintext, 1)
}

// The operator lets TLS 1.2 in, and takes it back: both for who comes next. A client
// that then wants to renegotiate is hung up on.
func TestMeshEntry(t *testing.T) {
	program(t, "openssl")
	agent := consultest.Start(t, consultest.Options{}) // there is one entry for all
	server, address := webOf(t, agent, "web", "shop")
	good := fetched(t, agent, "shop")
	connect := func(stdin string, more ...string) (string, error) {
		return run(t, stdin, "openssl", append([]string{
			"s_client", "-connect", address, "-tls1_2", "-cert", good.cert, "-key", good.key, "-CAfile", good.roots,
		}, more...)...)
	}
	if out, _ := connect(request, "-ign_eof"); strings.Contains(out, "200 OK") {
		t.Fatalf("TLS 1.2 is spoken by default:\n%s", out)
	}
	client, err := agent.Client()
	if err != nil {
		t.Fatal(err)
	}
	entry := api.MeshConfigEntry{TLS: &api.MeshTLSConfig{Incoming: &api.MeshDirectionalTLSConfig{
		TLSMinVersion: "TLSv1_2", CipherSuites: []string{"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
	}}}
	if _, _, err := client.ConfigEntries().Set(&entry, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "TLS 1.2 with the cipher suite of the entry", func() error {
		out, _ := connect(request, "-ign_eof")
		if !strings.Contains(out, "200 OK") || !strings.Contains(out, "Cipher is ECDHE-ECDSA-CHACHA20-POLY1305") {
			return errors.New(out)
		}
		return nil
	})
	out, _ := connect("R\n")
	if !strings.Contains(out, "RENEGOTIATING") || !strings.Contains(out, "alert") {
		t.Errorf("a renegotiation got\n%s", out)
	}
	counted(t, server, tlsutil.ReasonRenegotiation, 1)
	if _, err := client.ConfigEntries().Delete(api.MeshConfig, api.MeshConfigMesh, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no TLS 1.2", func() error {
		if out, _ := connect(request, "-ign_eof"); strings.Contains(out, "200 OK") {
			return errors.New(out)
		}
		return nil
	})
}
