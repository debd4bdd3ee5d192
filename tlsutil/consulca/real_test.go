package consulca_test

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/tlsutil"
	"github.com/innermesh/innermesh/tlsutil/consulca"
)

func sourceOf(t *testing.T, agent *consultest.Agent, token, service string) *consulca.Source {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	client, err := consul.New(consul.Options{Address: agent.HTTPAddr, Token: token, Datacenter: "dc1", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s, err := consulca.New(client, consulca.Options{Service: service, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ready(t *testing.T, s *consulca.Source) *tlsutil.Identity {
	t.Helper()
	id, err := tlsutil.Ready(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// until waits for an identity of which something is true.
func until(t *testing.T, s *consulca.Source, ok func(*tlsutil.Identity) bool) *tlsutil.Identity {
	t.Helper()
	for {
		changed := s.Changed()
		if id, err := s.Identity(); err == nil && ok(id) {
			return id
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("not in time: %v", s.Err())
		}
	}
}

// shake connects the two, each of which demands the other's very name.
func shake(t *testing.T, client, server *tlsutil.Identity) error {
	t.Helper()
	authorize := func(peer *tlsutil.Identity) tlsutil.Authorizer { return tlsutil.AuthorizeID(peer.ID()) }
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	var served error
	var serving sync.WaitGroup
	serving.Go(func() {
		conn := tls.Server(far, tlsutil.ServerConfig(fixed{server}, authorize(client), tlsutil.Options{Sessions: -1}))
		if served = conn.HandshakeContext(t.Context()); served != nil {
			_ = far.Close()
		}
	})
	err := tls.Client(near, tlsutil.ClientConfig(fixed{client}, authorize(server), tlsutil.Options{Sessions: -1})).HandshakeContext(t.Context())
	if err != nil {
		_ = near.Close()
	}
	serving.Wait()
	return errors.Join(err, served)
}

// fixed is a source that never changes.
type fixed struct{ id *tlsutil.Identity }

func (f fixed) Identity() (*tlsutil.Identity, error) { return f.id, nil }
func (f fixed) Changed() <-chan struct{}             { return nil }

func TestConsulIssues(t *testing.T) {
	agent := consultest.Shared(t)
	web, stock := ready(t, sourceOf(t, agent, "", "web")), ready(t, sourceOf(t, agent, "", "stock"))
	got, err := web.ID().Service()
	if err != nil || got.Service != "web" || got.Datacenter != "dc1" || got.Namespace != "default" || !strings.HasSuffix(got.TrustDomain, ".consul") {
		t.Errorf("got %v, %v", got, err)
	}
	if err := shake(t, web, stock); err != nil {
		t.Error(err)
	}
}

// Consul's CA is replaced: the sources follow, and throughout old and new
// certificates are accepted by each other.
func TestConsulRotatesItsCA(t *testing.T) {
	if testing.Short() {
		t.Skip("Consul takes half a minute to issue new certificates")
	}
	agent := consultest.Start(t, consultest.Options{})
	web, stock := sourceOf(t, agent, "", "web"), sourceOf(t, agent, "", "stock")
	oldWeb, oldStock := ready(t, web), ready(t, stock)
	client, err := agent.Client()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Connect().CASetConfig(&api.CAConfig{
		Provider: "consul",
		Config:   map[string]any{"PrivateKeyType": "ec", "PrivateKeyBits": 384, "CSRMaxPerSecond": 0},
	}, nil); err != nil {
		t.Fatal(err)
	}
	domain := oldWeb.ID().TrustDomain()
	bothRoots := func(id *tlsutil.Identity) bool { return !id.Roots().Pool(domain).Equal(oldWeb.Roots().Pool(domain)) }
	overlap := until(t, web, bothRoots)
	if err := shake(t, overlap, oldStock); err != nil {
		t.Errorf("new roots with old certificate: %v", err)
	}
	renewed := func(old *tlsutil.Identity) func(*tlsutil.Identity) bool {
		return func(id *tlsutil.Identity) bool { return !id.Certificate().Leaf.Equal(old.Certificate().Leaf) }
	}
	newWeb := until(t, web, renewed(oldWeb)) // Consul's agent takes up to half a minute
	for name, pair := range map[string][2]*tlsutil.Identity{
		"new calls old": {newWeb, oldStock}, "old calls new": {oldStock, newWeb},
		"new calls new": {newWeb, until(t, stock, renewed(oldStock))},
	} {
		if err := shake(t, pair[0], pair[1]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// While the agent is away the certificate stays in use; back again it gives
// another, of the same name.
func TestConsulAgentRestarts(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{Persistent: true})
	s := sourceOf(t, agent, "", "web")
	before := ready(t, s)
	changed := s.Changed()
	agent.Kill()
	<-changed
	if id, err := s.Identity(); err != nil || id != before || s.Err() == nil {
		t.Errorf("without an agent: %v, %v, %v", id, err, s.Err())
	}
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := until(t, s, func(id *tlsutil.Identity) bool { return !id.Certificate().Leaf.Equal(before.Certificate().Leaf) })
	if after.ID() != before.ID() {
		t.Errorf("%v has become %v", before, after)
	}
	if err := shake(t, before, after); err != nil {
		t.Error(err)
	}
}

func TestConsulDemandsServiceWrite(t *testing.T) {
	const config = `acl { enabled = true default_policy = "deny" tokens { initial_management = "root" } }`
	agent := consultest.Start(t, consultest.Options{Config: config, Token: "root"})
	client, err := agent.Client()
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := client.ACL().TokenCreate(&api.ACLToken{ServiceIdentities: []*api.ACLServiceIdentity{{ServiceName: "web"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ready(t, sourceOf(t, agent, token.SecretID, "web"))
	stock := sourceOf(t, agent, token.SecretID, "stock")
	for {
		changed := stock.Changed()
		_, err := stock.Identity()
		if errors.Is(err, consulca.ErrPermission) {
			if strings.Contains(err.Error(), token.SecretID) {
				t.Error("the token is told")
			}
			return
		}
		if !errors.Is(err, tlsutil.ErrNoIdentity) {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("never told")
		}
	}
}
