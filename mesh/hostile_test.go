package mesh_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

// manyRoutes are more than a router may have.
func manyRoutes(n int) (all []api.ServiceRoute) {
	for i := range n {
		all = append(all, routeTo(fmt.Sprintf("/%d", i), api.ServiceRouteDestination{}))
	}
	return all
}

func routeTo(prefix string, to api.ServiceRouteDestination) api.ServiceRoute {
	return api.ServiceRoute{Match: &api.ServiceRouteMatch{HTTP: &api.ServiceRouteHTTPMatch{PathPrefix: prefix}}, Destination: &to}
}

// Whatever is written to Consul, it is taken as it is meant, or refused with one
// error that says where the mistake is: by Consul itself when it is written, or
// here. What was in force before stays, and calls go on.
func TestHostileEntries(t *testing.T) {
	agent := consultest.Shared(t)
	name := consultest.Name(t, "web")
	m := consulMesh(t, agent, name)
	write(t, agent, speaksHTTP(name))
	versioned(t, m, name, "v1")
	router := func(all ...api.ServiceRoute) api.ConfigEntry {
		return &api.ServiceRouterConfigEntry{Kind: api.ServiceRouter, Name: name, Routes: all}
	}
	matching := func(match api.ServiceRouteHTTPMatch) api.ConfigEntry {
		return router(api.ServiceRoute{Match: &api.ServiceRouteMatch{HTTP: &match}})
	}
	resolver := func(subset api.ServiceResolverSubset) api.ConfigEntry {
		return &api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: name, Subsets: map[string]api.ServiceResolverSubset{"v1": subset}}
	}
	kept := router(routeTo("/kept", api.ServiceRouteDestination{RequestTimeout: 7 * time.Second}))
	entries := consulClient(t, agent).ConfigEntries()
	write(t, agent, kept)
	explained := func() mesh.Explanation {
		e, err := m.Explain(limited(t), request(t, http.MethodGet, "http://"+name+"/kept", nil))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	inForce := func() bool {
		e := explained()
		return len(e.Refused) == 0 && strings.Contains(e.String(), `"7s"`)
	}
	eventually(t, 5*time.Second, "the first router is in force", inForce)
	for what, test := range map[string]struct {
		entry api.ConfigEntry
		// consul is what Consul says when it refuses the entry, here what is said here.
		consul, here string
	}{
		"10,000 routes":       {entry: router(manyRoutes(10_000)...), here: "routes: 10001 are too many"},
		"regexp not RE2":      {entry: matching(api.ServiceRouteHTTPMatch{PathRegex: "/(?=x)"}), here: "routes[0].match.pathRegex: is not an RE2 expression"},
		"regexp of a header":  {entry: matching(api.ServiceRouteHTTPMatch{Header: []api.ServiceRouteHTTPMatchHeader{{Name: "x", Regex: "("}}}), here: "routes[0].match.headers[0].regex: is not an RE2 expression"},
		"unknown subset":      {entry: router(routeTo("/", api.ServiceRouteDestination{ServiceSubset: "v9"})), consul: "subset"},
		"bad filter":          {entry: resolver(api.ServiceResolverSubset{Filter: "Service.Meta.version =="}), consul: "Filter"},
		"loop of redirects":   {entry: &api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: name, Redirect: &api.ServiceResolverRedirect{Service: name + "-other"}}, consul: "circular"},
		"retries beyond all":  {entry: router(routeTo("/", api.ServiceRouteDestination{NumRetries: 4_000_000_000})), here: "retry.attempts"},
		"host is no header":   {entry: router(routeTo("/", api.ServiceRouteDestination{RequestHeaders: &api.HTTPHeaderModifiers{Set: map[string]string{"host": "x"}}})), here: "host"},
		"a retry status of 7": {entry: router(routeTo("/", api.ServiceRouteDestination{RetryOnStatusCodes: []uint32{7}})), here: "7"},
	} {
		t.Run(what, func(t *testing.T) {
			if test.consul == "circular" {
				write(t, agent, speaksHTTP(name+"-other"), &api.ServiceResolverConfigEntry{
					Kind: api.ServiceResolver, Name: name + "-other", Redirect: &api.ServiceResolverRedirect{Service: name},
				})
			}
			_, _, err := entries.Set(test.entry, nil)
			if test.consul != "" {
				if err == nil || !strings.Contains(err.Error(), test.consul) {
					t.Errorf("Consul says %v, want a refusal with %q", err, test.consul)
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				eventually(t, 10*time.Second, "it is refused", func() bool { return len(explained().Refused) > 0 })
				e := explained()
				if told := e.Refused[0].Err.Error(); len(e.Refused) != 1 || !strings.Contains(told, test.here) || len(told) > 2000 {
					t.Errorf("refused: %.2000s, want one error with %q", told, test.here)
				}
			}
			if e := explained(); !strings.Contains(e.String(), `"7s"`) {
				t.Errorf("what was in force is gone:\n%s", e)
			}
			if got, err := bodyOf(m.HTTPClient(), "http://"+name+"/kept"); err != nil || !strings.HasPrefix(got, "200 ") {
				t.Errorf("a call ends with %s, %v", got, err)
			}
			if _, _, err := entries.Set(kept, nil); err != nil {
				t.Fatal(err)
			}
			eventually(t, 5*time.Second, "what was right is right again", inForce)
		})
	}
	t.Run("a route to an unknown service", func(t *testing.T) { // it may come to be: only calls that go there fail
		write(t, agent, speaksHTTP(name+"-nobody"))
		write(t, agent, router(routeTo("/nobody", api.ServiceRouteDestination{Service: name + "-nobody"})))
		eventually(t, 5*time.Second, "calls to nobody fail", func() bool {
			_, err := bodyOf(m.HTTPClient(), "http://"+name+"/nobody")
			return errors.Is(err, discovery.ErrUnknownService)
		})
		if got, err := bodyOf(m.HTTPClient(), "http://"+name+"/kept"); err != nil || !strings.HasPrefix(got, "200 ") {
			t.Errorf("a call ends with %s, %v", got, err)
		}
	})
	t.Run("a negative timeout", func(t *testing.T) { // Consul takes it, and a sidecar takes it for none
		write(t, agent, router(routeTo("/kept", api.ServiceRouteDestination{RequestTimeout: -time.Second})))
		eventually(t, 5*time.Second, "there is no timeout", func() bool {
			e := explained()
			return len(e.Refused) == 0 && strings.Contains(e.String(), `timeout.total        "off"`)
		})
	})
}

// The same is true of documents.
func TestHostileDocuments(t *testing.T) {
	agent := consultest.Shared(t)
	name := consultest.Name(t, "web")
	m := consulMesh(t, agent, name)
	versioned(t, m, name, "v1")
	kv := consulClient(t, agent).KV()
	key := name + "/services/" + name
	put := func(text string) error {
		_, err := kv.Put(&api.KVPair{Key: key, Value: []byte(text)}, nil)
		return err
	}
	explained := func() mesh.Explanation {
		e, err := m.Explain(limited(t), request(t, http.MethodGet, "http://"+name+"/", nil))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	const good = `{"timeout": {"total": "7s"}}`
	inForce := func() bool {
		e := explained()
		return len(e.Refused) == 0 && strings.Contains(e.String(), `"7s"`)
	}
	if err := put(good); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the good document is in force", inForce)
	padded := func(n int) string { return good + strings.Repeat(" ", n-len(good)) }
	if err := put(padded(600 << 10)); err == nil || !inForce() { // 413, if the client still reads it
		t.Errorf("600 KB: Consul says %v, want a refusal", err)
	}
	for what, test := range map[string]struct{ text, want string }{
		"deep nesting":     {strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), "nest"},
		"deep YAML":        {strings.Repeat("[", 10_000), "nest"},
		"invalid UTF-8":    {"{\"timeout\": {\"total\": \"\xff\xfe\"}}", "UTF-8"},
		"duplicate keys":   {`{"timeout": {"total": "1s", "total": "2s"}}`, "timeout.total: "},
		"negative":         {`{"timeout": {"connect": "-1s"}}`, "timeout.connect: "},
		"not RE2":          {`{"routes": [{"match": {"pathRegex": "(?=x)"}}]}`, "routes[0].match.pathRegex: "},
		"bad filter":       {`{"routes": [{"to": [{"filter": "Service.Meta.v =="}]}]}`, "routes[0].to[0].filter: "},
		"sum of weights":   {`{"routes": [{"to": [{"weight": 10}, {"weight": 10, "service": "x"}]}]}`, "routes[0].to: weights add up to 20"},
		"unknown subset":   {`{"routes": [{"to": [{"subset": "v9"}]}]}`, "routes[0].to[0].subset: "},
		"mirror to no one": {`{"mirror": [{"percent": 5}]}`, "mirror[0]: "},
		"nothing at all":   {"\x00", ""},
		"10,000 routes":    {`{"routes": [` + strings.Repeat("{},", 9_999) + `{}]}`, "routes: 10000 are too many"},
	} {
		t.Run(what, func(t *testing.T) {
			if err := put(test.text); err != nil {
				t.Fatal(err)
			}
			eventually(t, 10*time.Second, "it is refused", func() bool { return len(explained().Refused) > 0 })
			e := explained()
			told := e.Refused[0].Err.Error()
			if len(e.Refused) != 1 || !strings.Contains(told, test.want) || len(told) > 4000 || e.Refused[0].Index == 0 {
				t.Errorf("refused at index %d: %.2000s, want one error with %q", e.Refused[0].Index, told, test.want)
			}
			if !strings.Contains(e.String(), `"7s"`) {
				t.Errorf("what was in force is gone:\n%.4000s", e)
			}
			if got, err := bodyOf(m.HTTPClient(), "http://"+name+"/"); err != nil || !strings.HasPrefix(got, "200 ") {
				t.Errorf("a call ends with %s, %v", got, err)
			}
			if err := put(good); err != nil {
				t.Fatal(err)
			}
			eventually(t, 5*time.Second, "what was right is right again", inForce)
		})
	}
}
