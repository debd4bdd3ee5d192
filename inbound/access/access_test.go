package access_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/inbound/access"
	"github.com/innermesh/innermesh/inbound/caller"
	"github.com/innermesh/innermesh/inbound/intention"
	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/internal/lastgood"
	"github.com/innermesh/innermesh/tlsutil"
)

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

// world is a program and those who call it.
type world struct {
	log    *logged
	source tlsutil.Source
	ca     *tlsutil.DevCA
	client *consul.Client
}

func newWorld(t *testing.T, o consul.Options) *world {
	t.Helper()
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	source, err := ca.Source("web")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{log: &logged{}, source: source, ca: ca}
	o.Logger = slog.New(slog.NewTextHandler(w.log, nil))
	if w.client, err = consul.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	return w
}

func (w *world) open(t *testing.T, o access.Options) *access.Access {
	t.Helper()
	if o.Service == "" {
		o.Service = "web"
	}
	o.Client, o.Source, o.Logger = w.client, w.source, slog.New(slog.NewTextHandler(w.log, nil))
	a, err := access.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func (w *world) who(t *testing.T, name string) caller.Caller {
	t.Helper()
	id, err := w.ca.ID(name)
	if err != nil {
		t.Fatal(err)
	}
	service, err := id.Service()
	if err != nil {
		t.Fatal(err)
	}
	return caller.Caller{ServiceID: service, ID: id}
}

func get() *intention.Request { return &intention.Request{Method: http.MethodGet, Path: "/"} }

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

func set(t *testing.T, client *api.Client, entry api.ConfigEntry) {
	t.Helper()
	if _, _, err := client.ConfigEntries().Set(entry, nil); err != nil {
		t.Fatal(err)
	}
}

func intentions(service string, sources ...*api.SourceIntention) *api.ServiceIntentionsConfigEntry {
	return &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: service, Sources: sources}
}

const closed = `acl { enabled = true default_policy = "deny" tokens { initial_management = "root" } }`

// The default policy is learned however the agent is configured, and whatever
// intentions there are, as far as the token may see it.
func TestDefaultIsLearned(t *testing.T) {
	everybody := func(service string) *api.ServiceIntentionsConfigEntry {
		return intentions(service, &api.SourceIntention{Name: "*", Action: api.IntentionActionDeny})
	}
	for name, test := range map[string]struct {
		config  string
		entries []api.ConfigEntry
		limited bool // the token is that of the service
		want    intention.Action
		unknown bool
	}{
		"open":                               {"", nil, false, intention.Allow, false},
		"intentions closed":                  {`default_intention_policy = "deny"`, nil, false, intention.Deny, false},
		"closed":                             {closed, nil, true, intention.Deny, false},
		"closed, but not for intentions":     {closed + "\n" + `default_intention_policy = "allow"`, nil, true, intention.Allow, false},
		"the service has a rule for all":     {closed + "\n" + `default_intention_policy = "allow"`, []api.ConfigEntry{everybody("web")}, true, intention.Allow, false},
		"everybody has, and all can be read": {`default_intention_policy = "allow"`, []api.ConfigEntry{everybody("*")}, false, intention.Allow, false},
		"everybody has, and little can":      {closed + "\n" + `default_intention_policy = "allow"`, []api.ConfigEntry{everybody("*")}, true, intention.Deny, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := consultest.Options{Config: test.config}
			if strings.Contains(test.config, "acl") {
				o.Token = "root"
			}
			agent := consultest.Start(t, o)
			client, err := agent.Client()
			if err != nil {
				t.Fatal(err)
			}
			set(t, client, &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "web", Protocol: "http"})
			for _, e := range test.entries {
				set(t, client, e)
			}
			asks := consul.Options{Address: agent.HTTPAddr, Token: o.Token}
			if test.limited {
				token, _, err := client.ACL().TokenCreate(&api.ACLToken{ServiceIdentities: []*api.ACLServiceIdentity{{ServiceName: "web"}}}, nil)
				if err != nil {
					t.Fatal(err)
				}
				asks.Token = token.SecretID
			}
			w := newWorld(t, asks)
			a := w.open(t, access.Options{})
			a.Decide(t.Context(), w.who(t, "batch"), get()) // waits
			if w.log.count("can not be learned") != map[bool]int{true: 1}[test.unknown] || w.log.count("policy="+test.want.String()) == 0 && !test.unknown {
				t.Errorf("logged:\n%v", w.log.text.String())
			}
			// No permission fits, so the default holds even where there is a rule for all.
			set(t, client, intentions("web", &api.SourceIntention{Name: "batch", Permissions: []*api.IntentionPermission{
				{Action: api.IntentionActionDeny, HTTP: &api.IntentionHTTPPermission{PathExact: "/never"}},
			}}))
			await(t, "the rule", func() bool { return a.Decide(t.Context(), w.who(t, "batch"), get()).Intention != nil })
			await(t, "the default", func() bool {
				d := a.Decide(t.Context(), w.who(t, "batch"), get())
				return d.Reason == intention.ByDefault && d.Allowed == (test.want == intention.Allow)
			})
		})
	}
}

// What was known is obeyed by a program that starts while Consul is away, tokens
// included, and nothing secret lies on disk.
func TestKeptRules(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{Config: `default_intention_policy = "allow"`, Persistent: true})
	client, err := agent.Client()
	if err != nil {
		t.Fatal(err)
	}
	keys := func(document string) *api.JSONWebKeySet {
		return &api.JSONWebKeySet{Local: &api.LocalJWKS{JWKS: base64.StdEncoding.EncodeToString([]byte(document))}}
	}
	const public = `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	const shared = `{"keys":[{"kty":"oct","k":"aGlkZGVuLWhpZGRlbg"}]}`
	set(t, client, &api.JWTProviderConfigEntry{Kind: api.JWTProvider, Name: "idp", Issuer: "i", JSONWebKeySet: keys(public)})
	set(t, client, &api.JWTProviderConfigEntry{Kind: api.JWTProvider, Name: "old", Issuer: "i", JSONWebKeySet: keys(shared)})
	e := intentions("web", &api.SourceIntention{Name: "batch", Action: api.IntentionActionDeny}, &api.SourceIntention{Name: "shop", Action: api.IntentionActionAllow})
	e.JWT = &api.IntentionJWTRequirement{Providers: []*api.IntentionJWTProvider{{Name: "idp"}, {Name: "old"}}}
	set(t, client, &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "web", Protocol: "http"})
	set(t, client, e)

	dir := t.TempDir()
	store := func() *lastgood.Store {
		s, err := lastgood.Open(dir, lastgood.Options{Service: "web"})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	judge := func(a *access.Access, w *world) {
		t.Helper()
		for name, want := range map[string]intention.Reason{"batch": intention.ByIntention, "shop": intention.BadToken, "other": intention.ByDefault} {
			req := get()
			if tokens := a.Tokens(t.Context(), http.Header{"Authorization": {"Bearer x.y.z"}}, ""); tokens != nil {
				req.Tokens = tokens
			}
			if d := a.Decide(t.Context(), w.who(t, name), req); d.Reason != want || d.Allowed != (name == "other") {
				t.Errorf("%s: %v, want %s", name, d, want)
			}
		}
	}
	first := store()
	w := newWorld(t, consul.Options{Address: agent.HTTPAddr})
	a := w.open(t, access.Options{Store: first})
	await(t, "providers", func() bool { return a.Tokens(t.Context(), nil, "") != nil })
	judge(a, w)
	a.Close()
	judge(a, w) // what is known stays
	w.client.Close()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	agent.Kill()

	second := store()
	if data, _, ok := second.Get("access", "web"); !ok || bytes.Contains(data, []byte(keys(shared).Local.JWKS)) ||
		!bytes.Contains(data, []byte(`"idp"`)) {
		t.Errorf("on disk: %s", data)
	}
	w = newWorld(t, consul.Options{Address: agent.HTTPAddr})
	a = w.open(t, access.Options{Store: second})
	judge(a, w)
	if w.log.count("going by what was kept") != 1 {
		t.Errorf("logged:\n%s", w.log.text.String())
	}
	// Another service has kept nothing.
	stock := w.open(t, access.Options{Store: second, Service: "stock"})
	begin := time.Now()
	if d := stock.Decide(t.Context(), w.who(t, "shop"), get()); d.Admit() || d.Reason != intention.NoRules || time.Since(begin) > 10*time.Second {
		t.Errorf("%v after %v", d, time.Since(begin))
	}
	open := w.open(t, access.Options{Service: "stock", OpenWithoutRules: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d := open.Decide(ctx, w.who(t, "shop"), get()); !d.Admit() {
		t.Error(d)
	}
	if d := open.Decide(ctx, caller.Caller{}, get()); d.Admit() || d.Reason != intention.Foreign {
		t.Error(d)
	}
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	set(t, client, intentions("web", &api.SourceIntention{Name: "batch", Action: api.IntentionActionAllow}))
	await(t, "Consul is heard again", func() bool { return a.Decide(t.Context(), w.who(t, "batch"), get()).Allowed })
	a.Close()
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDryRunAndOptions(t *testing.T) {
	w := newWorld(t, consul.Options{Address: "127.0.0.1:1"})
	a := w.open(t, access.Options{DryRun: true, Default: "deny"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d := a.Decide(ctx, w.who(t, "shop"), get()); d.Allowed || !d.Admit() {
		t.Error(d)
	}
	if _, may := a.DecideConnection(w.who(t, "shop")); !may {
		t.Error("a dry run closes connections")
	}
	if _, err := access.New(access.Options{Default: "maybe"}); err == nil || !strings.Contains(err.Error(), "Service") ||
		!strings.Contains(err.Error(), "Client") || !strings.Contains(err.Error(), "Default") {
		t.Error(err)
	}
	w.client.Close()
	if _, err := access.New(access.Options{Service: "web", Client: w.client}); err == nil {
		t.Error("it follows a client that is closed")
	}
}

func TestConnections(t *testing.T) {
	var c access.Connections
	w := newWorld(t, consul.Options{})
	shop, batch := w.who(t, "shop"), w.who(t, "batch")
	pair := func() (net.Conn, net.Conn) {
		here, there := net.Pipe()
		return c.Track(here), there // of a pipe all addresses are the same
	}
	one, other := pair()
	two, _ := pair()
	if c.Len() != 2 || c.Cut(func(caller.Caller) bool { return false }) != 0 {
		t.Error("those are closed of whom nothing is known")
	}
	c.Called("pipe", shop)
	c.Called("elsewhere", batch)
	asked := 0
	if n := c.Cut(func(who caller.Caller) bool { asked++; return who == shop }); n != 0 || asked != 1 {
		t.Errorf("%d closed, asked %d times", n, asked)
	}
	_ = two.Close()
	_ = two.Close()
	c.Called("pipe", batch)
	if n := c.Cut(func(who caller.Caller) bool { return who == shop }); n != 1 || c.Len() != 0 {
		t.Errorf("%d closed, %d are left", n, c.Len())
	}
	if _, err := other.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
	if _, err := one.Write([]byte("x")); err == nil {
		t.Error("it is still open")
	}
}
