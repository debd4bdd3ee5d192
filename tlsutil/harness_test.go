package tlsutil

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// held is a source that shows whatever it is given, expired leaves included.
type held struct{ cell }

func hold(id *Identity) *held {
	h := &held{}
	h.store(id)
	return h
}

func (h *held) Identity() (*Identity, error) {
	if id := h.identity.Load(); id != nil {
		return id, nil
	}
	return nil, ErrNoIdentity
}

func newCA(tb testing.TB, domain string) *DevCA {
	tb.Helper()
	ca, err := NewDevCA(DevCAOptions{TrustDomain: domain})
	if err != nil {
		tb.Fatal(err)
	}
	return ca
}

func source(tb testing.TB, ca *DevCA, service string) *DevSource {
	tb.Helper()
	src, err := ca.Source(service)
	if err != nil {
		tb.Fatal(err)
	}
	return src
}

func serviceID(tb testing.TB, ca *DevCA, service string) ID {
	tb.Helper()
	id, err := ca.ID(service)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func uris(tb testing.TB, raw ...string) []*url.URL {
	tb.Helper()
	var all []*url.URL
	for _, r := range raw {
		u, err := url.Parse(r)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, u)
	}
	return all
}

// forge signs a certificate for "web" that is changed by spoil first.
func forge(tb testing.TB, ca *DevCA, spoil func(*x509.Certificate)) tls.Certificate {
	tb.Helper()
	template := ca.leaf(serviceID(tb, ca, "web"), time.Now())
	spoil(template)
	cert, err := ca.issue(template)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

// shown is an identity that skips the checks of NewIdentity, as a stranger does.
func shown(tb testing.TB, cert tls.Certificate, roots *Roots) *held {
	tb.Helper()
	id, err := ParseID("spiffe://stranger.internal/x")
	if err != nil {
		tb.Fatal(err)
	}
	return hold(&Identity{id: id, cert: &cert, roots: roots})
}

// shameless makes a config show an identity without looking at its time.
func shameless(cfg *tls.Config, src *held) *tls.Config {
	cert := src.identity.Load().Certificate()
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	return cfg
}

// result is how one connection ended on both sides.
type result struct {
	client, server       tls.ConnectionState
	clientErr, serverErr error
}

// shake connects two configs in memory and carries one byte each way, so that
// tickets and the server's verdict reach the client.
func shake(client, server *tls.Config) result {
	near, far := newWire()
	var r result
	var wg sync.WaitGroup
	wg.Go(func() {
		defer far.Close()
		r.server, r.serverErr = talk(tls.Server(far, server))
	})
	wg.Go(func() {
		defer near.Close()
		r.client, r.clientErr = talk(tls.Client(near, client))
	})
	wg.Wait()
	return r
}

func talk(conn *tls.Conn) (tls.ConnectionState, error) {
	if err := conn.Handshake(); err != nil {
		return tls.ConnectionState{}, err
	}
	_, err := conn.Write([]byte{1})
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 1))
	}
	return conn.ConnectionState(), err
}

func (r result) ok(tb testing.TB) result {
	tb.Helper()
	if r.clientErr != nil || r.serverErr != nil {
		tb.Fatalf("connection failed: client %v, server %v", r.clientErr, r.serverErr)
	}
	return r
}

// wantPeerError fails unless err is a *PeerError with that reason.
func wantPeerError(tb testing.TB, err, reason error) *PeerError {
	tb.Helper()
	pe, ok := errors.AsType[*PeerError](err)
	if !ok || !errors.Is(err, reason) {
		tb.Fatalf("got %v, want a PeerError with %q", err, reason)
	}
	return pe
}

// rootsOf returns roots of several CAs of one trust domain.
func rootsOf(tb testing.TB, cas ...*DevCA) *Roots {
	tb.Helper()
	by := map[string][]*x509.Certificate{}
	for _, ca := range cas {
		domain := ca.opts.service("").TrustDomain
		by[domain] = append(by[domain], ca.cert)
	}
	r, err := NewRoots(by)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// identity makes one with roots of its own choosing.
func identity(tb testing.TB, ca *DevCA, service string, roots *Roots) *Identity {
	tb.Helper()
	cert, err := ca.issue(ca.leaf(serviceID(tb, ca, service), time.Now()))
	if err != nil {
		tb.Fatal(err)
	}
	id, err := NewIdentity(cert, roots)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

// intermediate makes a CA below another one.
func intermediate(tb testing.TB, ca *DevCA) *DevCA {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber:          devSerial(),
		Subject:               pkix.Name{CommonName: "intermediate"},
		NotBefore:             ca.cert.NotBefore,
		NotAfter:              ca.cert.NotAfter,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	cert, err := ca.issue(template)
	if err != nil {
		tb.Fatal(err)
	}
	below := *ca
	below.cert = cert.Leaf
	below.key = cert.PrivateKey.(*ecdsa.PrivateKey)
	return &below
}

// with returns the certificate with more certificates behind it.
func with(cert tls.Certificate, above ...*x509.Certificate) tls.Certificate {
	cert.Certificate = slices.Clone(cert.Certificate)
	for _, c := range above {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert
}
