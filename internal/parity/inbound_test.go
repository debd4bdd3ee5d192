package parity_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/inbound/intention"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/internal/parity"
	"github.com/innermesh/innermesh/tlsutil"
)

// tokens are the claims of good ones, by provider.
type tokens map[string]map[string]any

// Claims implements [intention.Tokens].
func (t tokens) Claims(provider string) (map[string]any, error) {
	if c, ok := t[provider]; ok {
		return c, nil
	}
	return nil, intention.ErrNoToken
}

// TestIntentions compares what becomes of requests under generated intentions
// with the filter that the same Consul serves to a sidecar. Left out is where it
// departs from what Consul documents: an exact source on "*" beside a wildcard on
// the service, and tokens where they are asked for by denials, or at all under a
// default of allow.
func TestIntentions(t *testing.T) {
	const services = 60
	for _, byDefault := range []string{"deny", "allow"} {
		t.Run("default "+byDefault, func(t *testing.T) {
			agent := consultest.Start(t, consultest.Options{Config: fmt.Sprintf("default_intention_policy = %q", byDefault)})
			client, err := agent.Client()
			if err != nil {
				t.Fatal(err)
			}
			oracle, err := parity.NewOracle(agent)
			if err != nil {
				t.Fatal(err)
			}
			defer oracle.Close()
			roots, _, err := client.Agent().ConnectCARoots(nil)
			if err != nil {
				t.Fatal(err)
			}
			g := &generator{rand.New(rand.NewPCG(3, 4)), byDefault == "deny"} // the same cases each time
			set := func(e api.ConfigEntry) {
				t.Helper()
				if _, _, err := client.ConfigEntries().Set(e, nil); err != nil {
					t.Fatal(err)
				}
			}
			set(&api.JWTProviderConfigEntry{Kind: api.JWTProvider, Name: "idp", Issuer: "https://idp", JSONWebKeySet: &api.JSONWebKeySet{
				Local: &api.LocalJWKS{JWKS: "eyJrZXlzIjpbXX0="},
			}})
			o := intention.Options{TrustDomain: roots.TrustDomain}
			if byDefault == "allow" {
				o.Default = intention.Allow
			}
			decided, denied, intentions := 0, 0, 0
			for n := range services {
				o.Service = fmt.Sprintf("web-%d", n)
				set(&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: o.Service, Protocol: "http"})
				entry := g.entry(o.Service)
				set(entry)
				intentions += len(entry.Sources)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				guard, err := oracle.Guard(ctx, o.Service)
				cancel()
				if err != nil {
					t.Fatal(err)
				}
				rules := rulesOf(t, agent, o)
				for _, source := range []string{"a", "b", "c", "d"} {
					for range 12 {
						id := tlsutil.ServiceID{TrustDomain: roots.TrustDomain, Datacenter: "dc1", Service: source}
						uri, err := id.ID()
						if err != nil {
							t.Fatal(err)
						}
						c := g.call(uri.String())
						theirs, err := guard.Allows(c)
						if err != nil {
							t.Fatal(err)
						}
						req := &intention.Request{Method: c.Method, Path: c.Path, Header: http.Header{}, Tokens: tokens(c.Tokens)}
						for name, v := range c.Header {
							http.Header(req.Header).Set(name, v)
						}
						ours := rules.Decide(id, req)
						if ours.Allowed != theirs {
							t.Errorf("%s to %s: %+v: we say %v, the sidecar %v", source, o.Service, c, ours, theirs)
						}
						if decided++; !theirs {
							denied++
						}
					}
				}
			}
			t.Logf("%d intentions, %d decisions, %d of them denials", intentions, decided, denied)
			if denied < decided/20 || denied > decided*19/20 {
				t.Error("that shows nothing")
			}
		})
	}
}

func rulesOf(t *testing.T, agent *consultest.Agent, o intention.Options) *intention.Rules {
	t.Helper()
	where := "http://" + agent.HTTPAddr + "/v1/connect/intentions/match?by=destination&name=" + url.QueryEscape(o.Service)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, where, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	list, err := intention.Decode(body, o.Service)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := intention.Compile(list, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := rules.Refused(); err != nil {
		t.Error(err)
	}
	return rules
}

// generator makes intentions and requests up.
type generator struct {
	*rand.Rand
	tokens bool // intentions may ask for them
}

func one[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

func (g *generator) entry(service string) *api.ServiceIntentionsConfigEntry {
	e := &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: service}
	for _, source := range []string{"a", "b", "c", "*"} {
		if g.IntN(4) == 0 && len(e.Sources) > 0 {
			continue
		}
		s := &api.SourceIntention{Name: source}
		if g.IntN(3) == 0 {
			s.Action = one(g, api.IntentionActionAllow, api.IntentionActionDeny)
		} else {
			for range 1 + g.IntN(4) {
				s.Permissions = append(s.Permissions, g.permission())
			}
		}
		e.Sources = append(e.Sources, s)
	}
	if g.tokens && g.IntN(5) == 0 {
		e.JWT = g.demand()
	}
	return e
}

func (g *generator) demand() *api.IntentionJWTRequirement {
	p := &api.IntentionJWTProvider{Name: "idp"}
	if g.IntN(2) == 0 {
		p.VerifyClaims = []*api.IntentionJWTClaimVerification{{Path: []string{"perms", "role"}, Value: "admin"}}
	}
	return &api.IntentionJWTRequirement{Providers: []*api.IntentionJWTProvider{p}}
}

func (g *generator) permission() *api.IntentionPermission {
	h := &api.IntentionHTTPPermission{}
	switch g.IntN(4) {
	case 0:
		h.PathExact = one(g, "/", "/v1", "/v1/a")
	case 1:
		h.PathPrefix = one(g, "/", "/v1", "/v1/", "/v2")
	case 2:
		h.PathRegex = one(g, "/v[12]", "/v1/.*", "/(v1|v2)/a", "/v.?")
	}
	if g.IntN(3) == 0 {
		h.Methods = one(g, []string{"GET"}, []string{"GET", "POST"}, []string{"DELETE"})
	}
	for range max(g.IntN(5)-2, 0) {
		h.Header = append(h.Header, g.header())
	}
	if h.PathExact+h.PathPrefix+h.PathRegex == "" && len(h.Methods) == 0 && len(h.Header) == 0 {
		h.PathPrefix = "/v"
	}
	p := &api.IntentionPermission{Action: one(g, api.IntentionActionAllow, api.IntentionActionAllow, api.IntentionActionDeny), HTTP: h}
	if g.tokens && p.Action == api.IntentionActionAllow && g.IntN(4) == 0 {
		p.JWT = g.demand()
	}
	return p
}

func (g *generator) header() api.IntentionHTTPHeaderPermission {
	h := api.IntentionHTTPHeaderPermission{Name: one(g, "x-a", "X-B"), Invert: g.IntN(4) == 0}
	value := one(g, "one", "two", "On")
	switch g.IntN(6) {
	case 0:
		h.Present = true
	case 1:
		h.Regex = one(g, "o.e", "t.*", "[a-z]+")
	case 2:
		h.Exact = value
	case 3:
		h.Prefix = value[:2]
	case 4:
		h.Suffix = value[1:]
	default:
		h.Contains = value[:2]
	}
	h.IgnoreCase = !h.Present && h.Regex == "" && g.IntN(3) == 0
	return h
}

func (g *generator) call(who string) *parity.Call {
	c := &parity.Call{
		Principal: who, Method: one(g, "GET", "GET", "POST", "DELETE"), Path: one(g, "/", "/v1", "/v1/a", "/v1/a/b", "/v2", "/v2/a", "/x"),
		Header: map[string]string{},
	}
	for _, name := range []string{"x-a", "x-b"} {
		if g.IntN(3) > 0 {
			c.Header[name] = one(g, "one", "two", "ONE", "phone", "")
		}
	}
	if g.IntN(2) == 0 {
		c.Tokens = map[string]map[string]any{"idp": {
			"iss": "https://idp", "perms": map[string]any{"role": one[any](g, "admin", "reader", []any{"admin"})},
		}}
	}
	return c
}
