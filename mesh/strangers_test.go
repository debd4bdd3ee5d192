package mesh_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/tlsutil"
)

// forger is a CA whose certificates need not make sense.
type forger struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newForger(t *testing.T, above *forger) *forger {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: rand.Text()}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
	}
	f := &forger{key: newKey(t)}
	if above == nil {
		above = &forger{template, f.key}
	}
	f.cert = above.sign(t, template, f.key)
	return f
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (f *forger) sign(t *testing.T, template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, template, f.cert, key.Public(), f.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

const meshDomain = "forged.internal"

// leaf is a good certificate of a service, but for what spoil does to it.
func (f *forger) leaf(t *testing.T, service string, spoil func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), URIs: []*url.URL{{Scheme: "spiffe", Host: meshDomain, Path: "/ns/default/dc/dc1/svc/" + service}},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if spoil != nil {
		spoil(template)
	}
	key := newKey(t)
	leaf := f.sign(t, template, key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// files is a source of a good identity.
func (f *forger) files(t *testing.T, service string) tlsutil.Source {
	t.Helper()
	dir, cert := t.TempDir(), f.leaf(t, service, nil)
	f.write(t, dir, cert)
	src, err := tlsutil.NewFiles(tlsutil.FilesOptions{Dir: dir, Every: 20 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src
}

func (f *forger) write(t *testing.T, dir string, cert tls.Certificate) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"ca.crt": {Type: "CERTIFICATE", Bytes: f.cert.Raw}, "tls.key": {Type: "PRIVATE KEY", Bytes: key},
		"tls.crt": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
	} {
		next := filepath.Join(dir, name+".new")
		if err := os.WriteFile(next, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// stranger is a certificate that nobody may accept, and why.
type stranger struct {
	name   string
	cert   tls.Certificate
	reason tlsutil.Reason
}

func strangersOf(t *testing.T, ca *forger) []stranger {
	t.Helper()
	names := func(uris ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.URIs = nil
			for _, raw := range uris {
				u, err := url.Parse(raw)
				if err != nil {
					t.Fatal(err)
				}
				c.URIs = append(c.URIs, u)
			}
		}
	}
	const web = "spiffe://" + meshDomain + "/ns/default/dc/dc1/svc/web"
	times := func(from, to time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
	}
	selfSigned := ca.leaf(t, "web", nil)
	key := selfSigned.PrivateKey.(*ecdsa.PrivateKey)
	selfSigned.Leaf = (&forger{selfSigned.Leaf, key}).sign(t, selfSigned.Leaf, key)
	selfSigned.Certificate = [][]byte{selfSigned.Leaf.Raw}
	deep := ca
	var above [][]byte
	for range 9 {
		deep = newForger(t, deep)
		above = append([][]byte{deep.cert.Raw}, above...)
	}
	tooDeep := deep.leaf(t, "web", nil)
	tooDeep.Certificate = append(tooDeep.Certificate, above...)
	return []stranger{
		{"another service", ca.leaf(t, "intruder", nil), tlsutil.ReasonDenied},
		{"another trust domain", ca.leaf(t, "web", names("spiffe://elsewhere.internal/ns/default/dc/dc1/svc/web")), tlsutil.ReasonTrustDomain},
		{"another CA", newForger(t, nil).leaf(t, "web", nil), tlsutil.ReasonUntrusted},
		{"self-signed", selfSigned, tlsutil.ReasonUntrusted},
		{"expired", ca.leaf(t, "web", times(-time.Hour, -time.Minute)), tlsutil.ReasonExpired},
		{"not yet valid", ca.leaf(t, "web", times(time.Hour, 2*time.Hour)), tlsutil.ReasonNotYetValid},
		{"no URI", ca.leaf(t, "web", names()), tlsutil.ReasonURIs},
		{"two URIs", ca.leaf(t, "web", names(web, web+"2")), tlsutil.ReasonURIs},
		{"not SPIFFE", ca.leaf(t, "web", names("https://web.internal/")), tlsutil.ReasonBadID},
		{"a chain too deep", tooDeep, tlsutil.ReasonTooDeep},
		{"a CA", ca.leaf(t, "web", func(c *x509.Certificate) { c.IsCA = true }), tlsutil.ReasonNotLeaf},
		{"no certificate", tls.Certificate{}, tlsutil.ReasonNoCertificate},
	}
}

// refusals counts those of one kind.
func refusals(m *mesh.Mesh, role string, reason tlsutil.Reason) (n uint64) {
	for _, r := range m.TLS().Refused {
		if r.Role == role && r.Reason == reason {
			n += r.Count
		}
	}
	return n
}

// Each is refused before the server hears of it, counted by reason, and told why.
func TestListenRefusesStrangers(t *testing.T) {
	ca, log := newForger(t, nil), &logged{}
	m, err := mesh.New(t.Context(), mesh.Options{
		Service: "web", Discovery: addresses{}, Logger: log.logger(),
		TLS: mesh.TLSOptions{Source: ca.files(t, "web"), Authorize: tlsutil.AuthorizeService("web")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(t.Context()) })
	addr := servedHTTP(t, m, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("served a stranger") }))
	for _, s := range strangersOf(t, ca) {
		before := refusals(m, "server", s.reason)
		for range 3 {
			config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &s.cert, nil
			}}
			conn, err := tls.Dial("tcp", addr, config)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: web\r\n\r\n")
			answer, err := io.ReadAll(conn)
			if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "remote error" || len(answer) > 0 {
				t.Errorf("%s: got %q, %v; want an alert", s.name, answer, err)
			}
			_ = conn.Close()
		}
		// The alert is sent before anything is counted.
		eventually(t, 10*time.Second, s.name+" is counted as "+string(s.reason), func() bool {
			return refusals(m, "server", s.reason) == before+3
		})
	}
	for _, r := range m.TLS().Refused {
		if got := log.count(`reason=` + string(r.Reason) + " "); got != 1 {
			t.Errorf("%s: logged %d times", r.Reason, got)
		}
	}
	if log.count("KEY") != 0 {
		t.Error("a key in the log")
	}
}

// The other end: a client meets servers with such certificates.
func TestCallsRefuseStrangers(t *testing.T) {
	ca := newForger(t, nil)
	for _, s := range strangersOf(t, ca) {
		if len(s.cert.Certificate) == 0 {
			continue // TLS has no server without one
		}
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{s.cert}})
		if err != nil {
			t.Fatal(err)
		}
		var serving sync.WaitGroup
		server := &http.Server{
			ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
			Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a stranger was asked") }),
		}
		serving.Go(func() { _ = server.Serve(l) })
		m := newMesh(t, mesh.Options{
			Discovery: addresses{"web": {l.Addr().String()}}, TLS: mesh.TLSOptions{Source: ca.files(t, "shop")},
			Defaults: policy.Service{Retry: policy.Retry{Attempts: 1}},
		})
		_, err = bodyOf(m.HTTPClient(), "http://web/")
		if got := tlsutil.ReasonOf(err); got != s.reason {
			t.Errorf("%s: %s, %v; want %s", s.name, got, err, s.reason)
		}
		if got := refusals(m, "client", s.reason); got == 0 {
			t.Errorf("%s: not counted: %+v", s.name, m.TLS().Refused)
		}
		_ = server.Close()
		serving.Wait()
	}
}

// logged is a log that can be searched.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logged) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}
