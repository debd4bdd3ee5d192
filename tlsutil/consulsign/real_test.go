package consulsign_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/tlsutil"
	"github.com/innermesh/innermesh/tlsutil/consulsign"
)

func start(t *testing.T, o consulsign.Options) *consulsign.Source {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := consulsign.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func of(agent *consultest.Agent, service string) consulsign.Options {
	return consulsign.Options{Service: service, Servers: []string{agent.GRPCAddr}}
}

func ready(t *testing.T, s tlsutil.Source) *tlsutil.Identity {
	t.Helper()
	id, err := tlsutil.Ready(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// until waits for an identity of which something is true.
func until(t *testing.T, s *consulsign.Source, ok func(*tlsutil.Identity) bool) *tlsutil.Identity {
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

// other says whether the certificate is not that of before.
func other(before *tlsutil.Identity) func(*tlsutil.Identity) bool {
	return func(id *tlsutil.Identity) bool { return !id.Certificate().Leaf.Equal(before.Certificate().Leaf) }
}

// shake connects the two, each of which demands the other's very name.
func shake(t *testing.T, client, server *tlsutil.Identity) error {
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
	return errors.Join(err, served)
}

// fixed is a source that never changes.
type fixed struct{ id *tlsutil.Identity }

func (f fixed) Identity() (*tlsutil.Identity, error) { return f.id, nil }
func (f fixed) Changed() <-chan struct{}             { return nil }

func TestConsulSigns(t *testing.T) {
	agent := consultest.Shared(t)
	s := start(t, of(agent, "web"))
	web, stock := ready(t, s), ready(t, start(t, of(agent, "stock")))
	got, err := web.ID().Service()
	if err != nil || got.Service != "web" || got.Datacenter != "dc1" || got.Namespace != "default" || !strings.HasSuffix(got.TrustDomain, ".consul") {
		t.Errorf("got %v, %v", got, err)
	}
	if err := shake(t, web, stock); err != nil {
		t.Error(err)
	}
	s.Renew()
	renewed := until(t, s, other(web))
	if renewed.Certificate().PrivateKey.(*ecdsa.PrivateKey).Equal(web.Certificate().PrivateKey) {
		t.Error("the key is used twice")
	}
	if err := shake(t, renewed, stock); err != nil {
		t.Error(err)
	}
}

// Consul's CA is replaced: throughout old and new certificates are accepted by
// each other.
func TestConsulRotatesItsCA(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{})
	o := of(agent, "web")
	o.Smear = 3 * time.Second
	web, stock := start(t, o), start(t, of(agent, "stock"))
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
	both := func(id *tlsutil.Identity) bool { return len(id.Roots().Certificates(domain)) == 2 }
	overlap := until(t, web, both)
	if other(oldWeb)(overlap) {
		t.Error("the certificate was replaced before the roots could reach everybody")
	}
	if err := shake(t, overlap, oldStock); err != nil {
		t.Errorf("new roots with old certificate: %v", err)
	}
	newWeb := until(t, web, other(oldWeb))
	stock.Renew()
	for name, pair := range map[string][2]*tlsutil.Identity{
		"new calls old": {newWeb, oldStock}, "old calls new": {oldStock, newWeb},
		"new calls new": {newWeb, until(t, stock, other(oldStock))},
	} {
		if err := shake(t, pair[0], pair[1]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if newWeb.ID() != oldWeb.ID() {
		t.Errorf("%s has become %s", oldWeb, newWeb)
	}
}

// While the server is away the certificate stays in use; back again it signs.
func TestServerRestarts(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{Persistent: true})
	s := start(t, of(agent, "web"))
	before := ready(t, s)
	agent.Kill()
	s.Renew()
	for changed := s.Changed(); s.Err() == nil; changed = s.Changed() {
		<-changed
	}
	if id, err := s.Identity(); err != nil || id != before {
		t.Errorf("without a server: %v, %v", id, err)
	}
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := until(t, s, other(before))
	if after.ID() != before.ID() {
		t.Errorf("%v has become %v", before, after)
	}
	if err := shake(t, before, after); err != nil {
		t.Error(err)
	}
}

// A Consul that has lost its memory is another trust domain: programs come over
// without being restarted. It is the one way that a trust domain changes.
func TestTrustDomainChanges(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{})
	s := start(t, of(agent, "web"))
	before := ready(t, s)
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := until(t, s, func(id *tlsutil.Identity) bool { return id.ID() != before.ID() })
	if err := shake(t, before, after); err == nil {
		t.Error("two trust domains trust each other")
	}
	if err := after.Check(time.Now()); err != nil {
		t.Error(err)
	}
}

// The leader goes: another server signs.
func TestLeaderChanges(t *testing.T) {
	if testing.Short() {
		t.Skip("an election takes some seconds")
	}
	cluster := consultest.StartCluster(t, 3, consultest.Options{})
	o := consulsign.Options{Service: "web"}
	for _, server := range cluster.Servers {
		o.Servers = append(o.Servers, server.GRPCAddr)
	}
	s := start(t, o)
	for range 2 { // restarted, so that at last we have been connected to one of them
		before := ready(t, s)
		leader, err := cluster.Leader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leader.Kill()
		s.Renew()
		after := until(t, s, other(before))
		if err := shake(t, before, after); err != nil {
			t.Error(err)
		}
		if err := leader.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
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
	o := of(agent, "web")
	o.Token = token.SecretID
	ready(t, start(t, o))
	for name, secret := range map[string]string{"stock": token.SecretID, "web": "", "web-too": "nobody-knows-it"} {
		o := of(agent, name)
		o.Token = secret
		s := start(t, o)
		var said error
		for changed := s.Changed(); !errors.Is(said, consulsign.ErrPermission); changed = s.Changed() {
			if _, said = s.Identity(); errors.Is(said, consulsign.ErrPermission) {
				break
			}
			select {
			case <-changed:
			case <-t.Context().Done():
				t.Fatalf("%s with %q: never told: %v", name, secret, said)
			}
		}
		if secret != "" && strings.Contains(said.Error(), secret) {
			t.Error("the token is told")
		}
	}
}
