package spire_test

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/innermesh/innermesh/tlsutil"
	"github.com/innermesh/innermesh/tlsutil/spire"
)

func start(t *testing.T, o spire.Options) *spire.Source {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	s, err := spire.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// until waits for something that is true of the source.
func until(t *testing.T, s *spire.Source, what string, ok func(*tlsutil.Identity, error) bool) *tlsutil.Identity {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		changed := s.Changed()
		id, err := s.Identity()
		if ok(id, err) {
			return id
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s: not in time: %v, %v", what, err, s.Err())
		}
	}
}

// other says whether the certificate is not that of before.
func other(before *tlsutil.Identity) func(*tlsutil.Identity, error) bool {
	return func(id *tlsutil.Identity, err error) bool {
		return err == nil && !id.Certificate().Leaf.Equal(before.Certificate().Leaf)
	}
}

// shake connects the two, each of which demands the other's very name.
func shake(t *testing.T, client, server *tlsutil.Identity) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	var served error
	var serving sync.WaitGroup
	serving.Go(func() {
		config := tlsutil.ServerConfig(fixed{server}, tlsutil.AuthorizeID(client.ID()), tlsutil.Options{Sessions: -1})
		if served = tls.Server(far, config).HandshakeContext(t.Context()); served != nil {
			_ = far.Close()
		}
	})
	config := tlsutil.ClientConfig(fixed{client}, tlsutil.AuthorizeID(server.ID()), tlsutil.Options{Sessions: -1})
	err := tls.Client(near, config).HandshakeContext(t.Context())
	if err != nil {
		_ = near.Close()
	}
	serving.Wait()
	if err := errors.Join(err, served); err != nil {
		t.Error(err)
	}
}

// fixed is a source that never changes.
type fixed struct{ id *tlsutil.Identity }

func (f fixed) Identity() (*tlsutil.Identity, error) { return f.id, nil }
func (f fixed) Changed() <-chan struct{}             { return nil }

var authority = regexp.MustCompile(`Authority ID: (\S+)`)

// SPIRE's life in one go, for its start takes seconds: no entry, an entry, renewal,
// an agent that is killed, another root.
func TestSPIRE(t *testing.T) {
	l := newLab(t)
	s := start(t, spire.Options{Socket: l.socket()})
	until(t, s, "no entry", func(_ *tlsutil.Identity, err error) bool {
		return errors.Is(err, spire.ErrNoEntry) && errors.Is(err, tlsutil.ErrNoIdentity)
	})
	l.entry("web", 30*time.Second)
	first := until(t, s, "an entry", func(_ *tlsutil.Identity, err error) bool { return err == nil })
	if service, err := first.ID().Service(); err != nil || service.Service != "web" || service.TrustDomain != domain {
		t.Errorf("got %v, %v", service, err)
	}
	second := until(t, s, "renewal", other(first))
	shake(t, first, second)

	l.agent()
	until(t, s, "the agent's end", func(*tlsutil.Identity, error) bool { return s.Err() != nil })
	if id, err := s.Identity(); err != nil || id.ID() != first.ID() {
		t.Errorf("without an agent: %v, %v", id, err)
	}
	l.startAgent()
	third := until(t, s, "the agent's return", other(second))
	shake(t, second, third)

	old := third.Roots().Certificates(domain)
	prepared := authority.FindStringSubmatch(l.ask("localauthority", "x509", "prepare"))
	if prepared == nil {
		t.Fatal("no new authority")
	}
	both := until(t, s, "two roots", func(id *tlsutil.Identity, err error) bool {
		return err == nil && len(id.Roots().Certificates(domain)) == len(old)+1
	})
	shake(t, both, third)
	l.ask("localauthority", "x509", "activate", "-authorityID", prepared[1])
	last := until(t, s, "a certificate of the new root", func(id *tlsutil.Identity, err error) bool {
		if err != nil {
			return false
		}
		for _, ca := range old {
			if id.Certificate().Leaf.CheckSignatureFrom(ca) == nil {
				return false
			}
		}
		return true
	})
	shake(t, last, both)
	shake(t, both, last)

	// Of two identities, the one that is wanted.
	l.entry("stock", time.Hour)
	want, err := tlsutil.ParseID("spiffe://" + domain + "/ns/default/dc/dc1/svc/stock")
	if err != nil {
		t.Fatal(err)
	}
	stock := start(t, spire.Options{Socket: l.socket(), ID: want})
	if id := until(t, stock, "the second entry", func(_ *tlsutil.Identity, err error) bool { return err == nil }); id.ID() != want {
		t.Errorf("got %v, want %v", id, want)
	}
}

func TestOptions(t *testing.T) {
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", "")
	for _, socket := range []string{"", "/run/agent.sock", "http://127.0.0.1"} {
		if _, err := spire.New(spire.Options{Socket: socket}); err == nil || !strings.Contains(err.Error(), "Socket") {
			t.Errorf("%q: %v", socket, err)
		}
	}
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", "unix://"+t.TempDir()+"/none.sock")
	s := start(t, spire.Options{})
	if _, err := s.Identity(); !errors.Is(err, tlsutil.ErrNoIdentity) {
		t.Errorf("nobody there: %v", err)
	}
}
