package caller_test

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/innermesh/innermesh/inbound/caller"
	"github.com/innermesh/innermesh/tlsutil"
)

// connect makes a handshake between two who trust what they are told to, and
// returns what the server knows of it.
func connect(t testing.TB, server, client tlsutil.Source) *tls.ConnectionState {
	t.Helper()
	here, there := net.Pipe()
	ours := tls.Server(here, tlsutil.ServerConfig(server, tlsutil.AuthorizeAny(), tlsutil.Options{Sessions: -1})) // nobody reads tickets
	theirs := tls.Client(there, tlsutil.ClientConfig(client, tlsutil.AuthorizeAny(), tlsutil.Options{}))
	done := make(chan error, 1)
	go func() { done <- theirs.HandshakeContext(t.Context()) }()
	if err := ours.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	cs := ours.ConnectionState()
	_ = there.Close()
	_ = here.Close()
	return &cs
}

func source(t testing.TB, ca *tlsutil.DevCA, name string) *tlsutil.DevSource {
	t.Helper()
	s, err := ca.Source(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func authority(t testing.TB, o tlsutil.DevCAOptions) *tlsutil.DevCA {
	t.Helper()
	ca, err := tlsutil.NewDevCA(o)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func identifier(t testing.TB, o caller.Options) *caller.Identifier {
	t.Helper()
	i, err := caller.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestIdentify(t *testing.T) {
	ca := authority(t, tlsutil.DevCAOptions{})
	web, batch, ingress := source(t, ca, "web"), source(t, ca, "batch"), source(t, ca, "ingress")
	uri := func(name string) string {
		id, err := ca.ID(name)
		if err != nil {
			t.Fatal(err)
		}
		return id.String()
	}
	i := identifier(t, caller.Options{Source: web, Forwarders: []string{"ingress", "edge"}})
	direct, forwarder := connect(t, web, batch), connect(t, web, ingress)
	by := "By=" + uri("ingress") + ";"
	for name, test := range map[string]struct {
		cs      *tls.ConnectionState
		header  string
		who     string
		via     string
		trusted bool
	}{
		"direct":                       {direct, "", "batch", "", false},
		"direct, with a header":        {direct, "URI=" + uri("admin"), "batch", "", false},
		"direct, with nonsense":        {direct, "nonsense", "batch", "", false},
		"for itself":                   {forwarder, "", "ingress", "", true},
		"for another":                  {forwarder, by + "URI=" + uri("batch"), "batch", "ingress", true},
		"only the last is its word":    {forwarder, "URI=" + uri("admin") + "," + by + "URI=" + uri("batch"), "batch", "ingress", true},
		"two hops":                     {forwarder, "By=" + uri("edge") + ";URI=" + uri("batch") + "," + by + "URI=" + uri("edge"), "batch", "ingress", true},
		"three, the first is a liar's": {forwarder, "URI=" + uri("admin") + ",URI=" + uri("batch") + ",URI=" + uri("edge"), "batch", "ingress", true},
		"a gateway calls":              {forwarder, "URI=spiffe://other/gateway/mesh", "", "ingress", true},
		"in the clear":                 {nil, "URI=" + uri("admin"), "", "", false},
	} {
		header := http.Header{}
		if test.header != "" {
			header.Set(caller.Header, test.header)
		}
		c, err := i.Identify(test.cs, header)
		if err != nil || c.Service != test.who || i.Trusted(c) != test.trusted {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
		if via := c.Via.String(); (via != "") != (test.via != "") || test.via != "" && via != uri(test.via) {
			t.Errorf("%s: via %q", name, via)
		}
		if test.who != "" && (c.ID.String() != uri(test.who) || c.IsZero() || c.TrustDomain != c.ID.TrustDomain()) {
			t.Errorf("%s: %v", name, c)
		}
	}
	for name, header := range map[string]http.Header{
		"nonsense":      {caller.Header: {"nonsense"}},
		"nobody":        {caller.Header: {by}},
		"two":           {caller.Header: {by + "URI=" + uri("a") + ";URI=" + uri("b")}},
		"no SPIFFE":     {caller.Header: {by + "URI=https://a"}},
		"another's":     {caller.Header: {"By=" + uri("other") + ";URI=" + uri("batch")}},
		"as metadata":   {"x-forwarded-client-cert": {"nonsense"}},
		"two spellings": {caller.Header: {by + "URI=" + uri("batch")}, "x-forwarded-client-cert": {"nonsense"}},
	} {
		if c, err := i.Identify(forwarder, header); !errors.Is(err, caller.ErrForwarded) || !c.IsZero() {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

// A certificate proves nothing because somebody has let it through.
func TestProof(t *testing.T) {
	ours, theirs := authority(t, tlsutil.DevCAOptions{}), authority(t, tlsutil.DevCAOptions{})
	web := source(t, ours, "web")
	stranger := connect(t, source(t, theirs, "web"), source(t, theirs, "batch"))
	i := identifier(t, caller.Options{Source: web, Forwarders: []string{"batch"}})
	for range 2 {
		if c, err := i.Identify(stranger, nil); !errors.Is(err, tlsutil.ErrUntrusted) || !c.IsZero() {
			t.Errorf("%+v, %v", c, err)
		}
	}
	unfinished := *connect(t, web, source(t, ours, "batch"))
	unfinished.HandshakeComplete = false
	if c, err := i.Identify(&unfinished, nil); err == nil || !c.IsZero() {
		t.Errorf("%+v, %v", c, err)
	}
	nobody := identifier(t, caller.Options{})
	if c, err := nobody.Identify(stranger, nil); err != nil || !c.IsZero() || nobody.Trusted(c) {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := caller.New(caller.Options{Forwarders: []string{"a", "", "b/c"}}); err == nil || !strings.Contains(err.Error(), "Forwarders[2]") {
		t.Error(err)
	}
}

func BenchmarkIdentify(b *testing.B) {
	ca := authority(b, tlsutil.DevCAOptions{})
	web := source(b, ca, "web")
	cs := connect(b, web, source(b, ca, "batch"))
	i := identifier(b, caller.Options{Source: web, Forwarders: []string{"ingress"}})
	b.ReportAllocs()
	for b.Loop() {
		if c, err := i.Identify(cs, nil); err != nil || c.IsZero() {
			b.Fatal(err)
		}
	}
}
