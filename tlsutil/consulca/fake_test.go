package consulca_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/tlsutil/consulca"
)

const domain = "11111111-2222.consul"

// root is a CA as Consul makes them.
type root struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newRoot(t *testing.T) *root {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: serial.String()}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &root{cert, key}
}

// leaf is what the agent says about a service, valid from a time on.
func (r *root) leaf(t *testing.T, path string, from time.Time, life time.Duration) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, URIs: []*url.URL{{Scheme: "spiffe", Host: domain, Path: path}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, NotBefore: from, NotAfter: from.Add(life),
	}, r.cert, key.Public(), r.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return asJSON(t, map[string]any{
		"CertPEM": block("CERTIFICATE", der), "PrivateKeyPEM": block("EC PRIVATE KEY", private), "Service": "web",
	})
}

// rootsOf is what Consul says about its CAs.
func rootsOf(t *testing.T, trustDomain string, roots ...*root) string {
	t.Helper()
	var list []map[string]any
	for _, r := range roots {
		list = append(list, map[string]any{"RootCert": block("CERTIFICATE", r.cert.Raw)})
	}
	return asJSON(t, map[string]any{"TrustDomain": trustDomain, "Roots": list})
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// agent is Consul's, as a round tripper: it answers when what it has changes.
type agent struct {
	mu      sync.Mutex
	index   int
	answers map[string]answer // by the kind: leaf or roots
	changed chan struct{}
}

type answer struct {
	index, status int
	body          string
}

func newAgent() *agent { return &agent{answers: map[string]answer{}, changed: make(chan struct{})} }

func (a *agent) say(kind string, status int, body string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index++
	a.answers[kind] = answer{a.index, status, body}
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) RoundTrip(r *http.Request) (*http.Response, error) {
	kind := "roots"
	if strings.HasPrefix(r.URL.Path, "/v1/agent/connect/ca/leaf/") {
		kind = "leaf"
	}
	asked, _ := strconv.Atoi(r.URL.Query().Get("index"))
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	timer := time.NewTimer(max(wait, time.Second))
	defer timer.Stop()
	for over := false; ; {
		a.mu.Lock()
		told, ok := a.answers[kind]
		changed := a.changed
		a.mu.Unlock()
		if ok && (told.index > asked || over) {
			return &http.Response{
				StatusCode: told.status, Header: http.Header{"X-Consul-Index": {strconv.Itoa(told.index)}},
				Body: io.NopCloser(strings.NewReader(told.body)), Request: r,
			}, nil
		}
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-changed:
		case <-timer.C:
			over = true
		}
	}
}

// logged is a log that a test can read.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), s)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// follow starts a source of web; its cleanup ends it.
func follow(t *testing.T, a *agent) (*consulca.Source, *logged) {
	t.Helper()
	log := new(logged)
	logger := slog.New(slog.NewTextHandler(log, nil))
	client, err := consul.New(consul.Options{Transport: a, Logger: logger, Token: "very-secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s, err := consulca.New(client, consulca.Options{Service: "web", Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, secret := range []string{"PRIVATE", "very-secret"} {
			if log.count(secret) > 0 {
				t.Errorf("the log has %q:\n%v", secret, log)
			}
		}
	})
	return s, log
}

const webPath = "/ns/default/dc/dc1/svc/web"

func webID() string { return fmt.Sprintf("spiffe://%s%s", domain, webPath) }
