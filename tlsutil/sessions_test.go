package tlsutil

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pair is two long-lived configs that trust one CA and may come to trust another.
type pair struct {
	ca, next       *DevCA
	client, server *held
	clientTLS      *tls.Config
	serverTLS      *tls.Config
}

func newPair(tb testing.TB, authorizeClient, authorizeServer Authorizer) *pair {
	tb.Helper()
	p := &pair{ca: newCA(tb, ""), next: newCA(tb, "")}
	p.client = hold(identity(tb, p.ca, "web", p.ca.Roots()))
	p.server = hold(identity(tb, p.ca, "inventory", p.ca.Roots()))
	p.clientTLS = ClientConfig(p.client, authorizeServer, Options{})
	p.clientTLS.ServerName = "inventory"
	p.serverTLS = ServerConfig(p.server, authorizeClient, Options{})
	return p
}

func (p *pair) shake(tb testing.TB, resumed bool) {
	tb.Helper()
	r := shake(p.clientTLS, p.serverTLS).ok(tb)
	if r.client.DidResume != resumed || r.server.DidResume != resumed {
		tb.Fatalf("resumed is %v at the client and %v at the server, want %v", r.client.DidResume, r.server.DidResume, resumed)
	}
}

func TestResumption(t *testing.T) {
	p := newPair(t, AuthorizeService("web"), AuthorizeService("inventory"))
	p.shake(t, false)
	p.shake(t, true)
	p.shake(t, true)
	// A renewed leaf is shown at once, and then resumed: the one before would expire
	// within the session.
	p.client.store(identity(t, p.ca, "web", p.ca.Roots()))
	p.shake(t, false)
	p.shake(t, true)
	p.server.store(identity(t, p.ca, "inventory", p.ca.Roots()))
	p.shake(t, false)
	p.shake(t, true)
	// A clone, as http.Server and grpc make them, shares keys and cache.
	p.clientTLS, p.serverTLS = p.clientTLS.Clone(), p.serverTLS.Clone()
	p.shake(t, true)
}

func TestResumptionOff(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		p := newPair(t, AuthorizeAny(), AuthorizeAny())
		if side == "client" {
			p.clientTLS = ClientConfig(p.client, AuthorizeAny(), Options{Sessions: -1})
		} else {
			p.serverTLS = ServerConfig(p.server, AuthorizeAny(), Options{Sessions: -1})
		}
		p.clientTLS.ServerName = "inventory"
		p.shake(t, false)
		p.shake(t, false)
	}
}

func TestResumedClientIsJudgedAgain(t *testing.T) {
	var denied atomic.Pointer[ID]
	p := newPair(t, func(peer, _ ID) error {
		if id := denied.Load(); id != nil && *id == peer {
			return errors.New("no longer")
		}
		return nil
	}, AuthorizeAny())
	other := newPair(t, nil, AuthorizeAny())
	other.clientTLS = ClientConfig(hold(identity(t, p.ca, "other", p.ca.Roots())), AuthorizeAny(), Options{})
	other.clientTLS.ServerName = "inventory"
	other.serverTLS = p.serverTLS
	for _, pair := range []*pair{p, other} {
		pair.shake(t, false)
		pair.shake(t, true)
	}
	web := serviceID(t, p.ca, "web")
	denied.Store(&web)
	for range 2 {
		r := shake(p.clientTLS, p.serverTLS)
		wantPeerError(t, r.serverErr, ErrDenied)
		if r.clientErr == nil {
			t.Fatal("a client that is no longer welcome was served on its old session")
		}
	}
	other.shake(t, true) // one that is denied spoils no session of others
}

func TestResumedServerIsJudgedAgain(t *testing.T) {
	var closed atomic.Bool
	p := newPair(t, AuthorizeAny(), func(ID, ID) error {
		if closed.Load() {
			return errors.New("closed")
		}
		return nil
	})
	p.shake(t, false)
	p.shake(t, true)
	closed.Store(true)
	for range 2 {
		wantPeerError(t, shake(p.clientTLS, p.serverTLS).clientErr, ErrDenied)
	}
}

// Roots, then leaves, then the old root away: no step may cost a connection,
// and after the last one no session of the old CA may live.
func TestCARotationCostsNoConnection(t *testing.T) {
	p := newPair(t, AuthorizeAny(), AuthorizeAny())
	both := rootsOf(t, p.ca, p.next)
	steps := []struct {
		name           string
		client, server *Identity
		resumed        bool
	}{
		{"server learns the new root", nil, identity(t, p.ca, "inventory", both), false},
		{"client learns the new root", identity(t, p.ca, "web", both), nil, false},
		{"server has a new leaf", nil, identity(t, p.next, "inventory", both), false},
		{"client has a new leaf", identity(t, p.next, "web", both), nil, false},
		{"server forgets the old root", nil, identity(t, p.next, "inventory", p.next.Roots()), false},
		{"client forgets the old root", identity(t, p.next, "web", p.next.Roots()), nil, false},
	}
	p.shake(t, false)
	p.shake(t, true)
	for _, step := range steps {
		t.Log(step.name)
		if step.client != nil {
			p.client.store(step.client)
		}
		if step.server != nil {
			p.server.store(step.server)
		}
		p.shake(t, step.resumed)
		p.shake(t, true)
	}
}

// The sessions' own checks are a courtesy. Without them, a session whose root is
// gone must still be refused, by each side alone.
func TestSessionOfRemovedRootIsRefused(t *testing.T) {
	t.Run("by the client", func(t *testing.T) {
		p := newPair(t, AuthorizeAny(), AuthorizeAny())
		p.clientTLS.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		p.shake(t, false)
		p.shake(t, true)
		p.client.store(identity(t, p.next, "web", p.next.Roots()))
		wantPeerError(t, shake(p.clientTLS, p.serverTLS).clientErr, ErrUntrusted)
	})
	t.Run("by the server", func(t *testing.T) {
		p := newPair(t, AuthorizeAny(), AuthorizeAny())
		p.serverTLS.WrapSession, p.serverTLS.UnwrapSession = nil, nil
		p.shake(t, false)
		p.shake(t, true)
		p.server.store(identity(t, p.next, "inventory", p.next.Roots()))
		wantPeerError(t, shake(p.clientTLS, p.serverTLS).serverErr, ErrUntrusted)
	})
}

// A session that slipped in while the roots changed is refused once, not for
// as long as its ticket lasts.
func TestRefusedSessionIsForgotten(t *testing.T) {
	t.Run("by the client", func(t *testing.T) {
		p := newPair(t, AuthorizeAny(), AuthorizeAny())
		both := rootsOf(t, p.ca, p.next)
		p.server.store(identity(t, p.ca, "inventory", both))
		p.shake(t, false)
		kept := p.clientTLS.ClientSessionCache.(*sessions)
		late, ok := kept.Get("inventory")
		if !ok {
			t.Fatal("no session was kept")
		}
		p.client.store(identity(t, p.ca, "web", rootsOf(t, p.next)))
		kept.Put("inventory", late)
		wantPeerError(t, shake(p.clientTLS, p.serverTLS).clientErr, ErrUntrusted)
		if _, ok := kept.Get("inventory"); ok {
			t.Error("the session is still there")
		}
		p.server.store(identity(t, p.next, "inventory", both))
		p.shake(t, false)
	})
	t.Run("by the server", func(t *testing.T) {
		p := newPair(t, AuthorizeAny(), AuthorizeAny())
		both := rootsOf(t, p.ca, p.next)
		p.client.store(identity(t, p.ca, "web", both))
		// The ticket is stamped with the roots that follow.
		wrap := p.serverTLS.WrapSession
		after := identity(t, p.next, "inventory", p.next.Roots())
		p.serverTLS.WrapSession = func(cs tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
			p.server.store(after)
			return wrap(cs, s)
		}
		p.shake(t, false)
		kept := p.clientTLS.ClientSessionCache.(*sessions)
		late, ok := kept.Get("inventory")
		if !ok {
			t.Fatal("no session was kept")
		}
		wantPeerError(t, shake(p.clientTLS, p.serverTLS).serverErr, ErrUntrusted)
		p.client.store(identity(t, p.next, "web", both))
		kept.Get("inventory") // which forgets
		kept.Put("inventory", late)
		p.shake(t, false)
	})
}

// Sessions are a name's own: after a change of name nobody may go on under the
// old one.
func TestSessionsEndWithTheName(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		p := newPair(t, AuthorizeAny(), AuthorizeAny())
		p.shake(t, false)
		p.shake(t, true)
		changed := identity(t, p.ca, "renamed", p.ca.Roots())
		if side == "client" {
			p.client.store(changed)
		} else {
			p.server.store(changed)
		}
		r := shake(p.clientTLS, p.serverTLS).ok(t)
		seen := r.server
		if side == "server" {
			seen = r.client
		}
		if id, err := PeerID(seen); err != nil || id != changed.ID() || r.client.DidResume {
			t.Errorf("the renamed %s is still seen as %s (resumed: %v, %v)", side, id, r.client.DidResume, err)
		}
	}
}

// A leaf that expires between two connections is not resumed, and a peer that
// has no newer one is refused.
func TestExpiredSession(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, AuthorizeAny(), AuthorizeAny())
			long := func(service string) *Identity {
				cert := forge(t, p.ca, func(c *x509.Certificate) {
					c.URIs = uris(t, serviceID(t, p.ca, service).String())
					c.NotAfter = time.Now().Add(48 * time.Hour)
				})
				id, err := NewIdentity(cert, p.ca.Roots())
				if err != nil {
					t.Fatal(err)
				}
				return id
			}
			short := p.client
			if side == "client" {
				p.server.store(long("inventory"))
			} else {
				p.client.store(long("web"))
				short = p.server
			}
			p.shake(t, false)
			p.shake(t, true)
			time.Sleep(2 * time.Hour)
			// The expired end shows its leaf without looking at the clock.
			clientTLS, serverTLS := p.clientTLS.Clone(), p.serverTLS.Clone()
			if side == "client" {
				shameless(clientTLS, short).VerifyConnection = nil
			} else {
				shameless(serverTLS, short).VerifyConnection = nil
			}
			r := shake(clientTLS, serverTLS)
			if side == "client" {
				wantPeerError(t, r.serverErr, ErrExpired)
			} else {
				wantPeerError(t, r.clientErr, ErrExpired)
			}
			// Renewed, it is met anew.
			if side == "client" {
				p.client.store(identity(t, p.ca, "web", p.ca.Roots()))
			} else {
				p.server.store(identity(t, p.ca, "inventory", p.ca.Roots()))
			}
			p.shake(t, false)
			p.shake(t, true)
		})
	}
}

// A ticket that the server can not open means a full handshake, no more.
func TestTicketOfAnotherServer(t *testing.T) {
	p := newPair(t, AuthorizeAny(), AuthorizeAny())
	p.shake(t, false)
	p.serverTLS = ServerConfig(p.server, AuthorizeAny(), Options{})
	p.shake(t, false)
}
