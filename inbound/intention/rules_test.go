package intention_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/innermesh/innermesh/inbound/intention"
	"github.com/innermesh/innermesh/tlsutil"
)

const domain = "1111.consul"

func caller(name string) tlsutil.ServiceID {
	return tlsutil.ServiceID{TrustDomain: domain, Namespace: "default", Datacenter: "dc9", Service: name}
}

// sample are the rules that Consul had for web.
func sample(t *testing.T) []intention.Intention {
	t.Helper()
	body, err := os.ReadFile("testdata/match-web.json")
	if err != nil {
		t.Fatal(err)
	}
	list, err := intention.Decode(body, "web")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func compile(t testing.TB, o intention.Options, list ...intention.Intention) *intention.Rules {
	t.Helper()
	o.Service, o.TrustDomain = "web", domain
	r, err := intention.Compile(list, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func get(path string, headers ...string) *intention.Request {
	r := &intention.Request{Method: http.MethodGet, Host: "web", Path: path, Header: http.Header{}}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		http.Header(r.Header).Add(name, value)
	}
	return r
}

// l4 is an intention with an action.
func l4(source, destination, action string) intention.Intention {
	return intention.Intention{SourceName: source, DestinationName: destination, Action: action}
}

// l7 is one with permissions.
func l7(source string, p ...intention.Permission) intention.Intention {
	return intention.Intention{SourceName: source, DestinationName: "web", Permissions: p}
}

func permit(action string, h intention.HTTP) intention.Permission {
	return intention.Permission{Action: action, HTTP: &h}
}

// What Consul's sample says, without the token that all but those on "*" need.
func TestSample(t *testing.T) {
	list := sample(t)
	r := compile(t, intention.Options{Default: intention.Allow}, list...)
	if err := r.Refused(); err != nil {
		t.Error(err)
	}
	for _, who := range []string{"batch", "default/*"} {
		if d := r.Decide(caller(who), get("/")); d.Admit() || d.Reason != intention.NoToken && d.Reason != intention.ByIntention {
			t.Errorf("%s needs a token: %v", who, d)
		}
	}
	for i := range list {
		list[i].JWT = nil
	}
	r = compile(t, intention.Options{}, list...)
	tenant := get("/v1/x", "X-Tenant: acme", "X-Env: prod", "X-Block: good")
	for _, test := range []struct {
		who        string
		request    *intention.Request
		allowed    bool
		reason     intention.Reason
		permission int
		precedence int
	}{
		{"batch", get("/any"), true, intention.ByIntention, 0, 9},
		{"frontend", get("/admin/x"), false, intention.ByPermission, 1, 9},
		{"frontend", get("/%61dmin"), false, intention.ByPermission, 1, 9},
		{"frontend", get("/v1/../admin"), false, intention.ByPermission, 1, 9},
		{"frontend", get("/v1%2F../admin"), false, intention.BadPath, 0, 9},
		{"frontend", get("/healthz"), true, intention.ByPermission, 2, 9},
		{"frontend", &intention.Request{Method: http.MethodPost, Path: "/healthz"}, false, intention.ByDefault, 0, 9},
		{"frontend", tenant, false, intention.NoToken, 3, 9},
		{"frontend", get("/v1/x", "X-Tenant: acme", "X-Env: prod"), false, intention.ByDefault, 0, 9},
		{"grpc-client", &intention.Request{Method: http.MethodPost, Path: "/helloworld.Greeter/SayHello", Literal: true}, true, intention.ByPermission, 1, 9},
		{"grpc-client", &intention.Request{Method: http.MethodPost, Path: "/helloworld.Greeter/%53ayHello", Literal: true}, false, intention.ByDefault, 0, 9},
		{"remote", get("/"), false, intention.ByIntention, 0, 8},
		{"anybody", get("/"), false, intention.ByIntention, 0, 8},
	} {
		d := r.Decide(caller(test.who), test.request)
		if d.Allowed != test.allowed || d.Admit() != test.allowed || d.Reason != test.reason || d.Permission != test.permission || d.Intention.Precedence != test.precedence {
			t.Errorf("%s %s: %v", test.who, test.request.Path, d)
		}
	}
	for who, reason := range map[string]intention.Reason{"batch": intention.ByIntention, "frontend": intention.NeedsRequest, "other": intention.ByIntention} {
		if d := r.DecideConnection(caller(who)); d.Allowed != (who == "batch") || d.Reason != reason {
			t.Errorf("%s connects: %v", who, d)
		}
	}
}

func TestFailsClosed(t *testing.T) {
	open := intention.Options{Default: intention.Allow}
	r := compile(t, open, l4("*", "*", "allow"))
	foreign := caller("batch")
	foreign.TrustDomain = "2222.consul"
	gateway := tlsutil.ServiceID{TrustDomain: domain}
	for _, who := range []tlsutil.ServiceID{foreign, gateway, {}} {
		if d := r.Decide(who, get("/")); d.Allowed || d.Reason != intention.Foreign {
			t.Errorf("%+v: %v", who, d)
		}
		if d := r.DecideConnection(who); d.Allowed || d.Reason != intention.Foreign {
			t.Errorf("%+v: %v", who, d)
		}
	}
	for name, i := range map[string]intention.Intention{
		"unknown action":         l4("batch", "web", "log"),
		"no action":              l4("batch", "web", ""),
		"action and permissions": {SourceName: "batch", DestinationName: "web", Action: "allow", Permissions: []intention.Permission{permit("allow", intention.HTTP{})}},
		"token":                  {SourceName: "batch", DestinationName: "web", Action: "allow", JWT: &intention.JWT{}},
		"token to be denied":     {SourceName: "batch", DestinationName: "web", Action: "deny", JWT: &intention.JWT{}},
		"token without a name":   {SourceName: "batch", DestinationName: "web", Action: "allow", JWT: &intention.JWT{Providers: make([]intention.Provider, 1)}},
		"claim without a name":   {SourceName: "batch", DestinationName: "web", Action: "allow", JWT: &intention.JWT{Providers: []intention.Provider{{Name: "idp", VerifyClaims: make([]intention.Claim, 1)}}}},
		"token in permission":    l7("batch", intention.Permission{Action: "allow", HTTP: &intention.HTTP{}, JWT: &intention.JWT{}}),
		"unknown in permission":  l7("batch", permit("log", intention.HTTP{})),
		"without HTTP":           l7("batch", intention.Permission{Action: "allow"}),
		"two paths":              l7("batch", permit("allow", intention.HTTP{PathExact: "/", PathPrefix: "/"})),
		"bad expression":         l7("batch", permit("allow", intention.HTTP{PathRegex: "("})),
		"closed bracket":         l7("batch", permit("allow", intention.HTTP{PathRegex: ")|(?:"})),
		"header without a name":  l7("batch", permit("allow", intention.HTTP{Header: []intention.Header{{Present: true}}})),
		"header without a match": l7("batch", permit("allow", intention.HTTP{Header: []intention.Header{{Name: "x"}}})),
		"header, two matches":    l7("batch", permit("allow", intention.HTTP{Header: []intention.Header{{Name: "x", Exact: "a", Prefix: "a"}}})),
		"header, bad expression": l7("batch", permit("allow", intention.HTTP{Header: []intention.Header{{Name: "x", Regex: "["}}})),
		"header of HTTP/2":       l7("batch", permit("allow", intention.HTTP{Header: []intention.Header{{Name: ":path", Present: true}}})),
	} {
		r := compile(t, open, i, l4("*", "web", "allow"))
		for _, d := range []intention.Decision{r.Decide(caller("batch"), get("/", "x: a")), r.DecideConnection(caller("batch"))} {
			if d.Allowed || d.Reason != intention.NotSupported {
				t.Errorf("%s: %v", name, d)
			}
		}
		if r.Refused() == nil {
			t.Errorf("%s is not told", name)
		}
		if d := r.Decide(caller("other"), get("/")); !d.Allowed {
			t.Errorf("%s: others suffer: %v", name, d)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	at := func(change func(*intention.Intention)) []intention.Intention {
		i := l4("batch", "web", "allow")
		change(&i)
		return []intention.Intention{i}
	}
	for name, list := range map[string][]intention.Intention{
		"another destination": at(func(i *intention.Intention) { i.DestinationName = "stock" }),
		"no source":           at(func(i *intention.Intention) { i.SourceName = "" }),
		"a group":             at(func(i *intention.Intention) { i.SourceSamenessGroup = "g" }),
		"another type":        at(func(i *intention.Intention) { i.SourceType = "vm" }),
		"wrong precedence":    at(func(i *intention.Intention) { i.Precedence = 8 }),
		"no pattern":          at(func(i *intention.Intention) { i.SourceNS = "*" }),
		"twice":               {l4("batch", "web", "allow"), {SourceName: "batch", SourceNS: "default", DestinationName: "web", Action: "deny"}},
	} {
		if r, err := intention.Compile(list, intention.Options{Service: "web", TrustDomain: domain}); err == nil || r != nil {
			t.Errorf("%s: accepted", name)
		}
	}
	_, err := intention.Compile(nil, intention.Options{Paths: intention.Paths{EscapedSlashes: 9}})
	for _, field := range []string{"Service", "TrustDomain", "Paths.EscapedSlashes"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is missing in %v", field, err)
		}
	}
}

func TestEnterprisePrecedence(t *testing.T) {
	in := func(partition, ns, name, action string) intention.Intention {
		return intention.Intention{SourcePartition: partition, SourceNS: ns, SourceName: name, DestinationNS: "default", DestinationName: "web", Action: action}
	}
	r := compile(t, intention.Options{},
		in("default", "blue", "batch", "deny"), in("", "blue", "*", "allow"), in("", "*", "*", "deny"), in("retail", "*", "*", "allow"))
	for who, allowed := range map[[3]string]bool{
		{"", "blue", "batch"}: false, {"default", "blue", "other"}: true, {"", "green", "batch"}: false, {"retail", "blue", "batch"}: true, {"third", "blue", "batch"}: false,
	} {
		id := tlsutil.ServiceID{TrustDomain: domain, Partition: who[0], Namespace: who[1], Service: who[2]}
		if d := r.Decide(id, get("/")); d.Allowed != allowed {
			t.Errorf("%v: %v", who, d)
		}
	}
}

func TestHeaders(t *testing.T) {
	for _, test := range []struct {
		header intention.Header
		fits   [][]string
		not    [][]string
	}{
		{intention.Header{Present: true}, [][]string{{"X-A: "}, {"x-a: 1"}}, [][]string{{}, {"X-B: 1"}}},
		{intention.Header{Present: true, Invert: true}, [][]string{{}}, [][]string{{"X-A: "}}},
		{intention.Header{Exact: "aB"}, [][]string{{"X-A: aB"}}, [][]string{{}, {"X-A: ab"}, {"X-A: aB", "X-A: aB"}, {"X-A: aBc"}}},
		{intention.Header{Exact: "a,b"}, [][]string{{"X-A: a", "X-A: b"}}, [][]string{{"X-A: a"}}},
		{intention.Header{Exact: "aB", Invert: true}, [][]string{{"X-A: ab"}}, [][]string{{}, {"X-A: aB"}}},
		{intention.Header{Exact: "aBK", IgnoreCase: true}, [][]string{{"X-A: AbK"}, {"X-A: abk"}}, [][]string{{"X-A: ab\u212a"}}},
		{intention.Header{Prefix: "aB"}, [][]string{{"X-A: aBc"}}, [][]string{{"X-A: ab"}, {"X-A: a"}}},
		{intention.Header{Suffix: "aB", IgnoreCase: true}, [][]string{{"X-A: cAb"}}, [][]string{{"X-A: abc"}, {"X-A: b"}}},
		{intention.Header{Contains: "aB"}, [][]string{{"X-A: caBc"}}, [][]string{{"X-A: cabc"}, {}}},
		{intention.Header{Contains: "aB", IgnoreCase: true}, [][]string{{"X-A: cAbc"}, {"X-A: ab"}}, [][]string{{"X-A: a"}, {"X-A: a b"}}},
		{intention.Header{Regex: "a+"}, [][]string{{"X-A: aa"}}, [][]string{{"X-A: aab"}, {}}},
	} {
		test.header.Name = "x-A"
		r := compile(t, intention.Options{}, l7("batch", permit("allow", intention.HTTP{Header: []intention.Header{test.header}})))
		for n, headers := range append(test.fits, test.not...) {
			want := n < len(test.fits)
			http := get("/", headers...)
			grpc := &intention.Request{Header: map[string][]string{}}
			for name, values := range http.Header {
				grpc.Header[strings.ToLower(name)] = values
			}
			for _, req := range []*intention.Request{http, grpc} {
				if d := r.Decide(caller("batch"), req); d.Allowed != want {
					t.Errorf("%+v with %v: %v", test.header, req.Header, d)
				}
			}
		}
	}
	special := func(name, value string) *intention.Rules {
		return compile(t, intention.Options{}, l7("batch", permit("allow", intention.HTTP{Header: []intention.Header{{Name: name, Exact: value}}})))
	}
	for _, name := range []string{"Host", ":authority"} {
		if d := special(name, "web").Decide(caller("batch"), get("/")); !d.Allowed {
			t.Errorf("%s: %v", name, d)
		}
		if d := special(name, "web").Decide(caller("batch"), &intention.Request{Header: http.Header{"Host": {"web"}}}); d.Allowed {
			t.Errorf("%s is taken from a header: %v", name, d)
		}
	}
	if d := special(":method", "GET").Decide(caller("batch"), get("/")); !d.Allowed {
		t.Error(d)
	}
	both := &intention.Request{Header: map[string][]string{"X-A": {"good"}, "x-a": {"bad"}}}
	if d := special("x-a", "good").Decide(caller("batch"), both); d.Allowed {
		t.Errorf("a second spelling hides the first: %v", d)
	}
}

func TestDryRun(t *testing.T) {
	r := compile(t, intention.Options{DryRun: true}, l4("batch", "web", "deny"))
	for _, who := range []string{"batch", "other"} {
		d := r.Decide(caller(who), get("/"))
		if d.Allowed || !d.Admit() || !strings.HasSuffix(d.String(), "(dry run)") {
			t.Errorf("%s: %v", who, d)
		}
	}
}

func TestDecisionTells(t *testing.T) {
	r := compile(t, intention.Options{}, l7("batch", permit("allow", intention.HTTP{PathPrefix: "/secret"})), l4("*", "*", "deny"))
	for text, d := range map[string]intention.Decision{
		"allow: permission of batch => web (precedence 9), permission 1": r.Decide(caller("batch"), get("/secret/x")),
		"deny: default policy of batch => web (precedence 9)":            r.Decide(caller("batch"), get("/x")),
		"deny: intention of * => * (precedence 5)":                       r.Decide(caller("other"), get("/secret/x")),
	} {
		if d.String() != text {
			t.Errorf("got %q, want %q", d, text)
		}
	}
}
