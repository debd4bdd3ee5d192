package intention_test

import (
	"os"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/inbound/intention"
)

// The model: sort by the table of precedence, take the first that is about the
// caller, then its first permission that fits.
func model(list []intention.Intention, byDefault bool, who, method, path string) bool {
	table := map[[2]bool]int{{false, false}: 9, {true, false}: 8, {false, true}: 6, {true, true}: 5} // source *, destination *
	rank := func(i intention.Intention) int { return table[[2]bool{i.SourceName == "*", i.DestinationName == "*"}] }
	list = slices.SortedFunc(slices.Values(list), func(a, b intention.Intention) int { return rank(b) - rank(a) })
	for _, i := range list {
		if i.SourceName != who && i.SourceName != "*" {
			continue
		}
		if len(i.Permissions) == 0 {
			return i.Action == "allow"
		}
		for _, p := range i.Permissions {
			if (p.HTTP.PathExact == "" || p.HTTP.PathExact == path) && (len(p.HTTP.Methods) == 0 || slices.Contains(p.HTTP.Methods, method)) {
				return p.Action == "allow"
			}
		}
		return byDefault
	}
	return byDefault
}

func TestPrecedenceIsTheModels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		action := rapid.SampledFrom([]string{"allow", "deny"})
		path := rapid.SampledFrom([]string{"/a", "/b", "/c"})
		method := rapid.SampledFrom([]string{"GET", "PUT"})
		seen := map[[2]string]bool{}
		var list []intention.Intention
		for range rapid.IntRange(0, 8).Draw(t, "intentions") {
			i := intention.Intention{
				SourceName:      rapid.SampledFrom([]string{"a", "b", "c", "*"}).Draw(t, "source"),
				DestinationName: rapid.SampledFrom([]string{"web", "*"}).Draw(t, "destination"),
			}
			if at := [2]string{i.SourceName, i.DestinationName}; seen[at] {
				continue
			} else {
				seen[at] = true
			}
			if i.DestinationName == "*" || rapid.Bool().Draw(t, "l4") {
				i.Action = action.Draw(t, "action")
			} else {
				for range rapid.IntRange(1, 3).Draw(t, "permissions") {
					i.Permissions = append(i.Permissions, permit(action.Draw(t, "action"), intention.HTTP{
						PathExact: rapid.SampledFrom([]string{"", "/a", "/b"}).Draw(t, "path"),
						Methods:   rapid.SliceOfNDistinct(method, 0, 2, rapid.ID).Draw(t, "methods"),
					}))
				}
			}
			list = append(list, i)
		}
		byDefault := rapid.Bool().Draw(t, "default")
		o := intention.Options{Service: "web", TrustDomain: domain}
		if byDefault {
			o.Default = intention.Allow
		}
		r, err := intention.Compile(list, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, who := range []string{"a", "b", "c", "d"} {
			req := &intention.Request{Method: method.Draw(t, "method"), Path: path.Draw(t, "path")}
			d := r.Decide(caller(who), req)
			if want := model(list, byDefault, who, req.Method, req.Path); d.Allowed != want {
				t.Fatalf("%s %+v: %v, want %v", who, req, d, want)
			}
		}
	})
}

// Any answer is read, or refused with an error; what was read can be compiled, or
// is refused; and what is compiled decides.
func FuzzDecode(f *testing.F) {
	body, err := os.ReadFile("testdata/match-web.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(body), `{"web":null}`, `{"web":[]}`, `{"web":[null]}`, `{"web":[{}]}`, `{}`, `null`, `[]`,
		`{"web":[{"SourceName":"a","DestinationName":"web","Action":"allow","New":1}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := intention.Decode(body, "web")
		if err != nil {
			return
		}
		r, err := intention.Compile(list, intention.Options{Service: "web", TrustDomain: domain})
		if err != nil {
			return
		}
		for _, i := range list {
			if d := r.Decide(caller(i.SourceName), get("/admin", "x-env: prod")); d.Allowed && d.Intention == nil {
				t.Fatalf("nobody has allowed it: %v", d)
			}
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		var list []intention.Intention
		for k := range n - 1 {
			list = append(list, l7("source-"+strconv.Itoa(k),
				permit("deny", intention.HTTP{PathPrefix: "/admin"}),
				permit("allow", intention.HTTP{PathPrefix: "/orders/", Methods: []string{"GET", "POST"}, Header: []intention.Header{{Name: "x-tenant", Present: true}}})))
		}
		r := compile(b, intention.Options{}, append(list, l4("*", "*", "deny"))...)
		who, req := caller("source-"+strconv.Itoa(n/2)), get("/orders/42/items", "x-tenant: acme")
		if d := r.Decide(who, req); !d.Allowed {
			b.Fatal(d)
		}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !r.Decide(who, req).Allowed {
					b.Fatal("denied")
				}
			}
		})
	}
}

func TestDecidingAllocatesNothing(t *testing.T) {
	r := compile(t, intention.Options{}, l7("batch",
		permit("deny", intention.HTTP{PathRegex: "/v[0-9]+/admin.*"}),
		permit("allow", intention.HTTP{PathPrefix: "/", Header: []intention.Header{{Name: "x-env", Exact: "PROD", IgnoreCase: true}}})))
	who, req := caller("batch"), get("/v1/orders", "X-Env: prod")
	if n := testing.AllocsPerRun(1000, func() {
		if !r.Decide(who, req).Allowed {
			t.Fatal("denied")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDecode(t *testing.T) {
	for _, body := range []string{`{}`, `[]`, `null`, `{"stock":[]}`, `{"web":{}}`, `{"web":[null]}`, `{"web":[{"Permissions":5}]}`, `{"web":[`} {
		if list, err := intention.Decode([]byte(body), "web"); err == nil {
			t.Errorf("%s: %v", body, list)
		}
	}
	for _, body := range []string{`{"web":null}`, `{"web":[]}`} {
		if list, err := intention.Decode([]byte(body), "web"); err != nil || len(list) > 0 {
			t.Errorf("%s: %v, %v", body, list, err)
		}
	}
	for name, field := range map[string]string{
		"intention":  `"Action":"allow","Until":"noon"`,
		"permission": `"Permissions":[{"Action":"allow","HTTP":{},"Until":"noon"}]`,
		"request":    `"Permissions":[{"Action":"allow","HTTP":{"Query":"x"}}]`,
		"header":     `"Permissions":[{"Action":"allow","HTTP":{"Header":[{"Name":"x","Present":true,"Count":2}]}}]`,
		"token":      `"Action":"allow","JWT":{"Any":true}`,
	} {
		list, err := intention.Decode([]byte(`{"web":[{"SourceName":"batch","DestinationName":"web",`+field+`}]}`), "web")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r := compile(t, intention.Options{Default: intention.Allow}, list...)
		if d := r.Decide(caller("batch"), get("/", "x: 1")); d.Allowed || d.Reason != intention.NotSupported || r.Refused() == nil {
			t.Errorf("a field of a %s that is not known: %v", name, d)
		}
	}
}
