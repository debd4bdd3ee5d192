package route

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/policy"
)

func merged(layers ...policy.Service) policy.Effective {
	all := []policy.Layer{{Name: "built-in", Service: policy.Default()}}
	for i, s := range layers {
		all = append(all, policy.Layer{Name: []string{"consul", "document", "pinned"}[i], Service: s})
	}
	return policy.Merge(all...)
}

func compiled(t testing.TB, layers ...policy.Service) *Table {
	t.Helper()
	p := merged(layers...)
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	table, err := Compile("stock", p)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestNoRoutesIsOnePlainRoute(t *testing.T) {
	table := compiled(t)
	r := table.Match(nil) // nobody looks at the request
	if !table.Plain() || r.Name != "" || len(r.Legs) != 1 || r.Legs[0].Targets[0].Service != "stock" || r.Legs[0].Split {
		t.Errorf("got %+v", r)
	}
}

func TestTheFirstRouteThatFitsCounts(t *testing.T) {
	table := compiled(t, policy.Service{Routes: []policy.Route{
		{Name: "v2", Match: policy.Match{PathPrefix: "/v2/"}, To: []policy.Leg{{Target: policy.Target{Service: "stock-next"}}}},
		{Match: policy.Match{PathPrefix: "/v"}},
	}})
	for line, want := range map[string]string{"GET /v2/x": "v2", "GET /v3": "1", "GET /": "default"} {
		if got := table.Match(get(line)).Name; got != want {
			t.Errorf("%s takes %q, want %q", line, got, want)
		}
	}
	if to := table.Match(get("GET /v2/")).Pick(0).Targets[0].Service; to != "stock-next" {
		t.Errorf("goes to %s", to)
	}
	if last := compiled(t, policy.Service{Routes: []policy.Route{{Match: policy.Match{PathPrefix: "/"}}}}); !last.Plain() {
		t.Error("a route that fits all needs none behind it")
	}
}

// What a route says lies above its own layer and below the next one.
func TestPrecedenceOfARoute(t *testing.T) {
	d := func(n int) policy.Duration { return policy.Duration(n) * policy.Duration(time.Second) }
	table := compiled(t,
		policy.Service{
			Timeout: policy.Timeout{Total: d(9), PerTry: policy.Off},
			Routes: []policy.Route{{
				Timeout: policy.Timeout{Total: d(7)},
				Retry:   policy.Retry{Attempts: 7, Backoff: policy.Backoff{Max: d(1)}},
				To:      []policy.Leg{{Target: policy.Target{Connect: d(5), Balancer: policy.Balancer{Policy: policy.Random}}}},
			}},
		},
		policy.Service{Retry: policy.Retry{Attempts: 2}},
		policy.Service{Balancer: policy.Balancer{Policy: policy.RoundRobin}},
	)
	r := table.Match(get("GET /"))
	target := r.Legs[0].Targets[0].Policy
	for what, got := range map[string][2]any{
		"total":    {r.Policy.Timeout.Total, d(7)},
		"attempts": {r.Policy.Retry.Attempts, 2},
		"backoff":  {r.Policy.Retry.Backoff.Max, d(1)},
		"connect":  {target.Timeout.Connect, d(5)},
		"balancer": {target.Balancer.Policy, policy.RoundRobin},
		"by route": {r.Policy.Origin("timeout.total"), "consul, routes[0]"},
		"by layer": {r.Policy.Origin("retry.attempts"), "document"},
		"by leg":   {target.Origin("timeout.connect"), "consul, routes[0].to[0]"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s is %v, want %v", what, got[0], got[1])
		}
	}
}

func TestCompileRefusesWhatDoesNotFitTogether(t *testing.T) {
	s := policy.Service{
		Timeout: policy.Timeout{PerTry: policy.Duration(3 * time.Second)},
		Routes:  []policy.Route{{Timeout: policy.Timeout{Total: policy.Duration(time.Second)}}},
	}
	_, err := Compile("stock", merged(s))
	if err == nil || !strings.Contains(err.Error(), "timeout.perTry: 3s leaves no time for another attempt") {
		t.Errorf("got %v", err)
	}
	none := policy.Service{Routes: []policy.Route{{To: []policy.Leg{{Weight: -1}}}}}
	if _, err := Compile("stock", merged(none)); err == nil {
		t.Error("a route without any share is accepted")
	}
}

func TestSubsetsAndFailoverAreNamedInFull(t *testing.T) {
	table := compiled(t, policy.Service{
		Subsets: map[string]policy.Subset{"v2": {Filter: "Service.Meta.version == v2", OnlyPassing: true}},
		Routes: []policy.Route{{To: []policy.Leg{{Target: policy.Target{
			Subset: "v2", Balancer: policy.Balancer{Policy: policy.Maglev},
			Failover: []policy.Target{{Datacenter: "dc2"}, {Service: "backup"}},
		}}}}},
	})
	targets := table.Match(nil).Legs[0].Targets
	var got []string
	for _, to := range targets {
		got = append(got, to.String()+" "+to.Filter+" "+to.Policy.Balancer.Policy)
	}
	want := []string{"stock subset v2 Service.Meta.version == v2 maglev", "stock datacenter dc2  maglev", "backup  maglev"}
	if !slices.Equal(got, want) || !targets[0].OnlyPassing {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Shares are honoured to the hundredth of a percent, whatever they add up to.
func TestSharesAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &Route{}
		for range rapid.IntRange(1, 8).Draw(t, "legs") {
			w := rapid.OneOf(rapid.Just(0), rapid.Just(1), rapid.IntRange(1, 5000)).Draw(t, "weight")
			r.Legs = append(r.Legs, &Leg{Number: len(r.Legs), Weight: w})
			r.whole += uint32(w)
		}
		if r.whole == 0 {
			return
		}
		// Numbers drawn evenly, as fine as a tenth of a hundredth.
		got := make([]int, len(r.Legs))
		const draws = 200_000
		for i := range draws {
			got[r.Pick(uint32(uint64(i)*math.MaxUint32/draws)).Number]++
		}
		for i, l := range r.Legs {
			share, want := float64(got[i])/draws, float64(l.Weight)/float64(r.whole)
			if len(r.Legs) > 1 && math.Abs(share-want) > 2.0/draws+1e-6 || l.Weight == 0 && len(r.Legs) > 1 && got[i] > 0 {
				t.Fatalf("leg %d of %v gets %v, want %v", i, r.Legs, share, want)
			}
		}
	})
}

func TestPaths(t *testing.T) {
	for _, test := range []struct {
		match      policy.Match
		with       string
		path, want string
	}{
		{policy.Match{PathPrefix: "/v1/"}, "", "/v1/x", "/v1/x"},
		{policy.Match{PathPrefix: "/v1/"}, "/", "/v1/x", "/x"},
		{policy.Match{PathPrefix: "/v1"}, "/", "/v1/x", "/x"},
		{policy.Match{PathPrefix: "/v1"}, "/", "/v1", "/"},
		{policy.Match{PathPrefix: "/v1"}, "/", "/v1x", "/x"},
		{policy.Match{PathPrefix: "/v1", IgnoreCase: true}, "/v2", "/V1/x", "/v2/x"},
		{policy.Match{PathPrefix: "/v1"}, "/v2/", "/v1/x", "/v2//x"},
		{policy.Match{Path: "/old"}, "/new", "/old", "/new"},
		{policy.Match{Path: "/old"}, "/", "/old", "/"},
	} {
		r := Route{rewrite: newRewrite(policy.Route{Match: test.match, Rewrite: policy.Rewrite{Prefix: test.with}})}
		if got := r.Path(test.path); got != test.want {
			t.Errorf("%+v with %q: %s becomes %s, want %s", test.match, test.with, test.path, got, test.want)
		}
	}
}

func TestHeadersRemoveThenSetThenAdd(t *testing.T) {
	h := newHeaders(policy.Headers{
		Remove: []string{"X-Old"}, Set: map[string]string{"x-both": "set", "X-Old": "new"}, Add: map[string]string{"X-Both": "added"},
	})
	got := http.Header{"X-Old": {"a", "b"}, "X-Both": {"c"}, "Other": {"d"}}
	h.HTTP(got)
	md := map[string][]string{"x-old": {"a", "b"}, "x-both": {"c"}, "other": {"d"}}
	h.Metadata(md)
	for name, want := range map[string][]string{"X-Old": {"new"}, "X-Both": {"set", "added"}, "Other": {"d"}} {
		if !slices.Equal(got[name], want) || !slices.Equal(md[strings.ToLower(name)], want) {
			t.Errorf("%s is %q and %q, want %q", name, got[name], md[strings.ToLower(name)], want)
		}
	}
}

func TestHash(t *testing.T) {
	hash := func(r *request, parts ...policy.Hash) uint64 {
		compiled := NewHash(parts)
		h, ok := compiled.Sum(r, Origin{Source: "10.0.0.1", Affinity: "session"})
		if !ok {
			return 0
		}
		return h
	}
	user, session := policy.Hash{Header: "X-User"}, policy.Hash{Cookie: "session"}
	a, b := get("GET /", "X-User: a", "Cookie: x=1; session=s"), get("GET /", "X-User: b", "Cookie: session=\"s\"")
	if hash(a, user) == hash(b, user) || hash(a, session) != hash(b, session) || hash(a, user, session) == hash(b, user, session) {
		t.Error("hashes do not follow their parts")
	}
	user.Terminal = true
	if hash(a, user, session) != hash(a, user) || hash(get("GET /", "Cookie: session=s"), user, session) != hash(a, session) {
		t.Error("terminal does not end the list when, and only when, there is a hash")
	}
	nothing := NewHash([]policy.Hash{{Query: "q"}, user, {Source: true}, {Affinity: true}})
	if _, ok := nothing.Sum(get("GET /"), Origin{}); ok {
		t.Error("a hash of nothing")
	}
	session.CookieTTL, session.CookiePath = policy.Duration(time.Minute), "/p"
	without := get("GET /")
	if hash(without, session) == 0 || !slices.Equal(without.made, []string{"session /p 1m0s"}) {
		t.Errorf("made %q", without.made)
	}
	if hash(a, session); a.made != nil {
		t.Error("a cookie was made for one who has it")
	}
	if hash(get("GET /"), policy.Hash{Affinity: true}) == 0 {
		t.Error("what the program says is not hashed")
	}
	if hash(get("GET /"), policy.Hash{Source: true}) == 0 {
		t.Error("the source is not hashed")
	}
}

func TestMatchingAllocatesNothing(t *testing.T) {
	table := compiled(t, policy.Service{Routes: []policy.Route{
		{Match: policy.Match{PathRegex: "/x[0-9]+", Headers: []policy.HeaderMatch{{Name: "x-a", Exact: "b"}}}},
		{Match: policy.Match{PathPrefix: "/v2/"}, To: []policy.Leg{{Weight: 50}, {Weight: 50}}},
	}})
	r := get("GET /v2/y", "x-a: b")
	if n := testing.AllocsPerRun(100, func() { table.Match(r).Pick(12345) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMatch(b *testing.B) {
	var routes []policy.Route
	for _, prefix := range []string{"/a/", "/b/", "/c/", "/d/", "/e/", "/f/", "/g/", "/h/", "/i/", "/j/"} {
		routes = append(routes, policy.Route{Match: policy.Match{PathPrefix: prefix}})
	}
	table, r := compiled(b, policy.Service{Routes: routes}), get("GET /j/x")
	b.ReportAllocs()
	for b.Loop() {
		table.Match(r).Pick(1)
	}
}
