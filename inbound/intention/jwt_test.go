package intention_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/innermesh/innermesh/inbound/intention"
)

// tokens are those of a request: claims or an error by provider.
type tokens map[string]any

func (t tokens) Claims(provider string) (map[string]any, error) {
	switch said := t[provider].(type) {
	case map[string]any:
		return said, nil
	case error:
		return nil, said
	default:
		return nil, fmt.Errorf("%q: %w", provider, intention.ErrNoToken)
	}
}

func of(name string, claims ...string) intention.Provider {
	p := intention.Provider{Name: name}
	for n := 0; n < len(claims); n += 2 {
		p.VerifyClaims = append(p.VerifyClaims, intention.Claim{Path: []string{"perms", claims[n]}, Value: claims[n+1]})
	}
	return p
}

func needs(p ...intention.Provider) *intention.JWT { return &intention.JWT{Providers: p} }

func TestTokens(t *testing.T) {
	admin := intention.Permission{Action: "allow", HTTP: &intention.HTTP{PathPrefix: "/admin"}, JWT: needs(of("ops", "role", "admin"))}
	denied := intention.Permission{Action: "deny", HTTP: &intention.HTTP{PathPrefix: "/x"}, JWT: needs(of("ops"))}
	whole := l7("both", admin, permit("allow", intention.HTTP{}))
	whole.JWT = needs(of("idp"), of("other"))
	plain := l4("plain", "web", "allow")
	plain.JWT = needs(of("idp", "role", "reader"))
	never := l4("never", "web", "deny")
	never.JWT = needs(of("idp"))
	odd := l7("odd", permit("allow", intention.HTTP{PathExact: "/never"}))
	odd.JWT = needs(of("idp"))
	r := compile(t, intention.Options{Default: intention.Allow}, l7("some", admin, denied, permit("allow", intention.HTTP{})), whole, plain, never, odd)
	if got := r.Providers(); !slices.Equal(got, []string{"idp", "ops", "other"}) {
		t.Errorf("providers %q", got)
	}
	role := func(v any) map[string]any { return map[string]any{"perms": map[string]any{"role": v}} }
	expired := errors.New("expired")
	for n, test := range []struct {
		who, path string
		tokens    intention.Tokens
		reason    intention.Reason
		provider  string
	}{
		{"some", "/", nil, intention.ByPermission, ""},
		{"some", "/admin", nil, intention.NoToken, ""},
		{"some", "/admin", tokens{}, intention.NoToken, ""},
		{"some", "/admin", tokens{"idp": role("admin")}, intention.NoToken, ""},
		{"some", "/admin", tokens{"ops": expired}, intention.BadToken, ""},
		{"some", "/admin", tokens{"ops": role("reader")}, intention.WrongClaims, ""},
		{"some", "/admin", tokens{"ops": role([]any{"admin"})}, intention.WrongClaims, ""},
		{"some", "/admin", tokens{"ops": map[string]any{"perms": "role"}}, intention.WrongClaims, ""},
		{"some", "/admin", tokens{"ops": role("admin")}, intention.ByToken, "ops"},
		{"some", "/x", tokens{"ops": role("admin")}, intention.ByPermission, ""}, // it is denied
		{"both", "/admin", tokens{"ops": role("admin")}, intention.NoToken, ""},
		{"both", "/admin", tokens{"ops": role("admin"), "other": role("")}, intention.ByToken, "other"},
		{"both", "/admin", tokens{"other": role("")}, intention.NoToken, ""},
		{"both", "/", tokens{"other": role(""), "idp": expired}, intention.ByToken, "other"},
		{"both", "/", tokens{"idp": expired}, intention.BadToken, ""},
		{"plain", "/", tokens{"idp": role("reader")}, intention.ByToken, "idp"},
		{"plain", "/", tokens{"idp": role("Reader")}, intention.WrongClaims, ""},
		{"never", "/", tokens{"idp": role("")}, intention.ByIntention, ""},
		{"never", "/", nil, intention.ByIntention, ""},
		{"odd", "/", nil, intention.NoToken, ""}, // the default policy does not let it in
		{"odd", "/", tokens{"idp": role("")}, intention.ByToken, "idp"},
	} {
		req := get(test.path)
		req.Tokens = test.tokens
		d := r.Decide(caller(test.who), req)
		allowed := test.reason == intention.ByToken || test.who == "some" && test.path == "/"
		if d.Reason != test.reason || d.Provider != test.provider || d.Allowed != allowed {
			t.Errorf("%d: %v of %q, want %s", n, d, d.Provider, test.reason)
		}
		if want := test.reason == intention.NoToken || test.reason == intention.BadToken; d.Unauthenticated() != want || (d.Token == nil) != (allowed || d.Reason == intention.ByPermission || d.Reason == intention.ByIntention) {
			t.Errorf("%d: unauthenticated %v, token %v", n, d.Unauthenticated(), d.Token)
		}
	}
	for _, who := range []string{"plain", "some", "never"} {
		if d := r.DecideConnection(caller(who)); d.Allowed || d.Reason != intention.NeedsRequest {
			t.Errorf("%s connects: %v", who, d)
		}
	}
}

func TestJudgeRevises(t *testing.T) {
	j, err := intention.NewJudge(intention.Options{Service: "web", TrustDomain: domain}, nil)
	if err != nil {
		t.Fatal(err)
	}
	allow := func(o *intention.Options) { o.Default = intention.Allow }
	if err := j.Revise(allow); err != nil || j.Rules() != nil || j.Decide(caller("a"), get("/")).Reason != intention.NoRules {
		t.Error("rules out of nothing", err)
	}
	if err := j.Accept([]intention.Intention{l4("b", "web", "deny")}); err != nil {
		t.Fatal(err)
	}
	if !j.Decide(caller("a"), get("/")).Allowed || j.Decide(caller("b"), get("/")).Allowed {
		t.Error("the default policy is not the revised one")
	}
	if err := j.Revise(func(o *intention.Options) { o.Default, o.TrustDomain = intention.Deny, "2222.consul" }); err != nil {
		t.Fatal(err)
	}
	if d := j.Decide(caller("a"), get("/")); d.Reason != intention.Foreign {
		t.Error(d)
	}
	if err := j.Revise(func(o *intention.Options) { o.Service = "" }); err == nil {
		t.Error("wrong options are taken")
	}
}
