package tlsutil

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMutual(t *testing.T) {
	ca := newCA(t, "")
	client, server := source(t, ca, "web"), source(t, ca, "inventory")
	cfg := ClientConfig(client, AuthorizeService("inventory"), Options{})
	cfg.ServerName = "inventory.example" // stands in no certificate, and does not matter
	r := shake(cfg, ServerConfig(server, AuthorizeService("web"), Options{})).ok(t)
	if id, err := PeerID(r.client); err != nil || id != serviceID(t, ca, "inventory") {
		t.Errorf("the client met %s, %v", id, err)
	}
	if id, err := PeerID(r.server); err != nil || id != serviceID(t, ca, "web") {
		t.Errorf("the server met %s, %v", id, err)
	}
	if r.client.Version != tls.VersionTLS13 || r.client.NegotiatedProtocol != "h2" {
		t.Errorf("got version %#x, protocol %q", r.client.Version, r.client.NegotiatedProtocol)
	}
	if r.server.ServerName != "inventory.example" {
		t.Errorf("the SNI arrived as %q", r.server.ServerName)
	}
}

func TestNextProtos(t *testing.T) {
	ca := newCA(t, "")
	src := source(t, ca, "web")
	for _, test := range []struct {
		client, server []string
		want           string
	}{
		{nil, nil, "h2"},
		{[]string{"http/1.1"}, nil, "http/1.1"},
		{nil, []string{"http/1.1"}, "http/1.1"},
		{[]string{}, nil, ""},
		{nil, []string{}, ""},
	} {
		r := shake(
			ClientConfig(src, AuthorizeAny(), Options{NextProtos: test.client}),
			ServerConfig(src, AuthorizeAny(), Options{NextProtos: test.server}),
		).ok(t)
		if r.client.NegotiatedProtocol != test.want || r.server.NegotiatedProtocol != test.want {
			t.Errorf("%q with %q agree on %q, want %q", test.client, test.server, r.client.NegotiatedProtocol, test.want)
		}
	}
	err := Options{NextProtos: []string{"", "h2", strings.Repeat("x", 256)}}.Validate()
	if err == nil || !strings.Contains(err.Error(), "NextProtos[0]") || !strings.Contains(err.Error(), "NextProtos[2]") || strings.Contains(err.Error(), "[1]") {
		t.Errorf("got %v", err)
	}
	if err := (Options{}).Validate(); err != nil {
		t.Error(err)
	}
}

// Each stranger knocks as a client and answers as a server; both ends that are
// ours must refuse it, with the reason.
func TestRefusedPeers(t *testing.T) {
	ca, twin, foreign := newCA(t, "dev.internal"), newCA(t, "dev.internal"), newCA(t, "other.internal")
	below := intermediate(t, ca) // ca has path length 0
	plain := func(*x509.Certificate) {}
	cert := func(by *DevCA, spoil func(*x509.Certificate)) tls.Certificate { return forge(t, by, spoil) }
	many := make([]*x509.Certificate, maxChain)
	for i := range many {
		many[i] = ca.cert
	}
	tests := []struct {
		name      string
		cert      tls.Certificate
		reason    error
		authorize Authorizer
	}{
		{"other service", cert(ca, plain), ErrDenied, AuthorizeService("inventory")},
		{"service that merely starts alike", cert(ca, plain), ErrDenied, AuthorizeService("we")},
		{"other trust domain", cert(foreign, plain), ErrUntrusted, AuthorizeAny()},
		{"name of our domain by a foreign CA", cert(foreign, func(c *x509.Certificate) {
			c.URIs = uris(t, serviceID(t, ca, "web").String())
		}), ErrUntrusted, AuthorizeAny()},
		{"name of a foreign domain by our CA", cert(ca, func(c *x509.Certificate) {
			c.URIs = uris(t, "spiffe://other.internal/ns/default/dc/dc1/svc/web")
		}), ErrUntrusted, AuthorizeAny()},
		{"another CA of the same name", cert(twin, plain), ErrUntrusted, AuthorizeAny()},
		{"self-signed", selfSigned(t, ca), ErrUntrusted, AuthorizeAny()},
		{"expired", cert(ca, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
		}), ErrExpired, AuthorizeAny()},
		{"not yet valid", cert(ca, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), ErrNotYetValid, AuthorizeAny()},
		{"no URI", cert(ca, func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"web.dev.internal"} }), ErrOneURI, AuthorizeAny()},
		{"no names at all", cert(ca, func(c *x509.Certificate) { c.URIs = nil }), ErrOneURI, AuthorizeAny()},
		{"two URIs", cert(ca, func(c *x509.Certificate) { c.URIs = append(c.URIs, uris(t, "spiffe://dev.internal/x")...) }), ErrOneURI, AuthorizeAny()},
		{"the same URI twice", cert(ca, func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }), ErrOneURI, AuthorizeAny()},
		{"a URI that is not SPIFFE", cert(ca, func(c *x509.Certificate) { c.URIs = uris(t, "https://dev.internal/x") }), ErrBadID, AuthorizeAny()},
		{"an upper-case scheme", cert(ca, rawURI("SPIFFE://dev.internal/x")), ErrBadID, AuthorizeAny()},
		{"an empty fragment", cert(ca, rawURI("spiffe://dev.internal/x#")), ErrBadID, AuthorizeAny()},
		{"an escaped path", cert(ca, rawURI("spiffe://dev.internal/%78")), ErrBadID, AuthorizeAny()},
		{"a trust domain as a name", cert(ca, func(c *x509.Certificate) { c.URIs = uris(t, "spiffe://dev.internal") }), ErrBadID, AuthorizeAny()},
		{"a CA as a leaf", cert(ca, func(c *x509.Certificate) { c.IsCA = true }), ErrNotLeaf, AuthorizeAny()},
		{"the CA itself", tls.Certificate{Certificate: [][]byte{ca.cert.Raw}, PrivateKey: ca.key, Leaf: ca.cert}, ErrNotLeaf, AuthorizeAny()},
		{"a leaf that may sign", cert(ca, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }), ErrNotLeaf, AuthorizeAny()},
		{"wrong usage", cert(ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }), ErrUntrusted, AuthorizeAny()},
		{"a chain deeper than the CA allows", with(cert(below, plain), below.cert), ErrUntrusted, AuthorizeAny()},
		{"a leaf signed by a leaf", signedByLeaf(t, ca), ErrUntrusted, AuthorizeAny()},
		{"too many certificates", with(cert(ca, plain), many...), ErrUntrusted, AuthorizeAny()},
		{"no authorizer", cert(ca, plain), ErrDenied, nil},
		{"an authorizer with words of its own", cert(ca, plain), ErrDenied, func(ID, ID) error { return errors.New("not on Sundays") }},
		{"an authorizer with an error like ours", cert(ca, plain), ErrDenied, func(peer, _ ID) error { return &PeerError{Peer: peer, Err: ErrNoIdentity} }},
	}
	us := source(t, ca, "us")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// The stranger itself is happy with anybody.
			stranger := shown(t, test.cert, ca.Roots())
			asClient := shameless(&tls.Config{InsecureSkipVerify: true}, stranger)
			asServer := shameless(&tls.Config{ClientAuth: tls.RequireAnyClientCert}, stranger)

			r := shake(asClient, ServerConfig(us, test.authorize, Options{}))
			wantPeerError(t, r.serverErr, test.reason)
			if r.clientErr == nil {
				t.Error("the refused client was served")
			}
			r = shake(ClientConfig(us, test.authorize, Options{}), asServer)
			wantPeerError(t, r.clientErr, test.reason)
			if r.serverErr == nil {
				t.Error("the refused server was talked to")
			}
		})
	}
}

func TestRefusalSaysWho(t *testing.T) {
	ca := newCA(t, "")
	r := shake(
		ClientConfig(source(t, ca, "web"), AuthorizeService("inventory"), Options{}),
		ServerConfig(source(t, ca, "payments"), AuthorizeAny(), Options{}),
	)
	pe := wantPeerError(t, r.clientErr, ErrDenied)
	if pe.Peer != serviceID(t, ca, "payments") {
		t.Errorf("peer is %s", pe.Peer)
	}
	for _, word := range []string{"svc/payments", `"inventory"`, "dev.internal"} {
		if !strings.Contains(pe.Error(), word) {
			t.Errorf("%q does not say %s", pe, word)
		}
	}
}

// A chain through an intermediate is fine where the CA allows it; without the
// intermediate it is not.
func TestIntermediate(t *testing.T) {
	ca := newCA(t, "")
	root := selfSignedCA(t, ca)
	below := intermediate(t, root)
	cert := forge(t, below, func(*x509.Certificate) {})
	roots := rootsOf(t, root)
	for _, test := range []struct {
		cert tls.Certificate
		want error
	}{{with(cert, below.cert), nil}, {cert, ErrUntrusted}} {
		us := identity(t, root, "us", roots)
		peer, err := NewIdentity(test.cert, roots)
		if err != nil {
			t.Fatal(err)
		}
		r := shake(ClientConfig(hold(us), AuthorizeService("web"), Options{}), ServerConfig(hold(peer), AuthorizeAny(), Options{}))
		if !errors.Is(r.clientErr, test.want) {
			t.Errorf("got %v, want %v", r.clientErr, test.want)
		}
	}
}

// The server's half of the usages: a certificate good for clients only.
func TestUsageIsOneOfTheSide(t *testing.T) {
	ca := newCA(t, "")
	us := source(t, ca, "us")
	only := func(usage x509.ExtKeyUsage) *held {
		cert := forge(t, ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{usage} })
		id, err := NewIdentity(cert, ca.Roots())
		if err != nil {
			t.Fatal(err)
		}
		return hold(id)
	}
	asClient, asServer := only(x509.ExtKeyUsageClientAuth), only(x509.ExtKeyUsageServerAuth)
	ours := func(src Source) (client, server *tls.Config) {
		return ClientConfig(src, AuthorizeAny(), Options{}), ServerConfig(src, AuthorizeAny(), Options{})
	}
	usClient, usServer := ours(us)
	cClient, cServer := ours(asClient)
	sClient, sServer := ours(asServer)
	shake(cClient, usServer).ok(t)
	shake(usClient, sServer).ok(t)
	wantPeerError(t, shake(usClient, cServer).clientErr, ErrUntrusted)
	wantPeerError(t, shake(sClient, usServer).serverErr, ErrUntrusted)
}

func TestServerRefusesOtherProtocols(t *testing.T) {
	ca := newCA(t, "")
	web := source(t, ca, "web")
	server := ServerConfig(source(t, ca, "inventory"), AuthorizeAny(), Options{})

	old := ClientConfig(web, AuthorizeAny(), Options{})
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if r := shake(old, server); r.serverErr == nil || r.clientErr == nil || !strings.Contains(r.serverErr.Error(), "version") {
		t.Errorf("a TLS 1.2 client: client %v, server %v", r.clientErr, r.serverErr)
	}

	nameless := ClientConfig(web, AuthorizeAny(), Options{})
	nameless.GetClientCertificate = nil
	if r := shake(nameless, server); r.serverErr == nil || r.clientErr == nil || !strings.Contains(r.serverErr.Error(), "certificate") {
		t.Errorf("no client certificate: client %v, server %v", r.clientErr, r.serverErr)
	}

	near, far := newWire()
	done := make(chan error, 1)
	go func() {
		defer far.Close()
		done <- tls.Server(far, server).Handshake()
	}()
	if _, err := io.WriteString(near, "GET / HTTP/1.1\r\nHost: inventory\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(near)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](<-done); !ok || bytes.Contains(answer, []byte("HTTP/1.1 2")) {
		t.Errorf("a plaintext client was answered %q", answer)
	}
}

func TestClientRefusesTLS12(t *testing.T) {
	ca := newCA(t, "")
	src := source(t, ca, "web")
	old := ServerConfig(src, AuthorizeAny(), Options{})
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if r := shake(ClientConfig(src, AuthorizeAny(), Options{}), old); r.clientErr == nil {
		t.Error("the client speaks TLS 1.2")
	}
}

func TestOwnIdentityMissingOrExpired(t *testing.T) {
	ca := newCA(t, "")
	good := source(t, ca, "web")
	old := forge(t, ca, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
	})
	expired, err := NewIdentity(old, ca.Roots())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		src  Source
		want error
	}{
		{"nil source", nil, ErrNoIdentity},
		{"empty source", &held{}, ErrNoIdentity},
		{"nil identity", nothing{}, ErrNoIdentity},
		{"expired", hold(expired), ErrExpired},
	} {
		r := shake(ClientConfig(test.src, AuthorizeAny(), Options{}), ServerConfig(good, AuthorizeAny(), Options{}))
		if !errors.Is(r.clientErr, test.want) || r.serverErr == nil {
			t.Errorf("%s: client %v, server %v", test.name, r.clientErr, r.serverErr)
		}
		r = shake(ClientConfig(good, AuthorizeAny(), Options{}), ServerConfig(test.src, AuthorizeAny(), Options{}))
		if !errors.Is(r.serverErr, test.want) || r.clientErr == nil {
			t.Errorf("%s: server %v, client %v", test.name, r.serverErr, r.clientErr)
		}
	}
}

func TestPeerIDWithoutHandshake(t *testing.T) {
	ca := newCA(t, "")
	cert := forge(t, ca, func(*x509.Certificate) {})
	_, err := PeerID(tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert.Leaf}})
	wantPeerError(t, err, ErrNoCertificate)
	_, err = PeerID(tls.ConnectionState{HandshakeComplete: true})
	wantPeerError(t, err, ErrNoCertificate)
	_, err = PeerID(tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{ca.cert}})
	wantPeerError(t, err, ErrNotLeaf)
}

func TestNoPeerCertificate(t *testing.T) {
	ca := newCA(t, "")
	self, err := source(t, ca, "web").Identity()
	if err != nil {
		t.Fatal(err)
	}
	err = verify(nil, self, x509.ExtKeyUsageServerAuth, AuthorizeAny(), time.Now())
	wantPeerError(t, err, ErrNoCertificate)
}

type nothing struct{}

func (nothing) Identity() (*Identity, error) { return nil, nil }
func (nothing) Changed() <-chan struct{}     { return nil }

// rawURI puts a URI into the names of a certificate that net/url would tidy up.
func rawURI(raw string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.URIs = nil
		c.ExtraExtensions = append(slices.Clone(c.ExtraExtensions), uriExtension(raw))
	}
}
