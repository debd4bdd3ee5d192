package mesh_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

// write puts config entries into Consul until the test ends.
func write(t *testing.T, agent *consultest.Agent, entries ...api.ConfigEntry) {
	t.Helper()
	c := consulClient(t, agent).ConfigEntries()
	for _, e := range entries {
		if ok, _, err := c.Set(e, nil); err != nil || !ok {
			t.Fatalf("write %s %s: %v", e.GetKind(), e.GetName(), err)
		}
		t.Cleanup(func() { _, _ = c.Delete(e.GetKind(), e.GetName(), nil) }) // the next one may still need it
	}
}

func speaksHTTP(service string) api.ConfigEntry {
	return &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: service, Protocol: "http"}
}

// versioned starts an instance of a version that answers with its name.
func versioned(t *testing.T, m *mesh.Mesh, service, version string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, service+" "+version+" "+r.URL.Path) // who has gone needs no answer
	}))
	t.Cleanup(s.Close)
	registered(t, m, mesh.Registration{
		Service: service, ID: service + "-" + version, Meta: map[string]string{"version": version},
	}, s.Listener.Addr().String())
}

// Routes, splits, subsets and redirects that are written to Consul are in force
// within a second, without a failed call.
func TestConsulEntriesSteerCalls(t *testing.T) {
	agent := consultest.Shared(t)
	name := consultest.Name(t, "web")
	other := name + "-api"
	m := consulMesh(t, agent, name)
	client := m.HTTPClient()
	write(t, agent, speaksHTTP(name), speaksHTTP(other))
	versioned(t, m, name, "v1")
	versioned(t, m, name, "v2")
	versioned(t, m, other, "v1")
	ask := func(path string) string {
		body, err := bodyOf(client, "http://"+name+path)
		if err != nil {
			return err.Error()
		}
		return strings.TrimPrefix(body, "200 ")
	}
	eventually(t, 5*time.Second, "both versions answer", func() bool {
		return ask("/") == name+" v1 /" || ask("/") == name+" v2 /"
	})

	write(t, agent, &api.ServiceResolverConfigEntry{
		Kind: api.ServiceResolver, Name: name, DefaultSubset: "v1",
		Subsets: map[string]api.ServiceResolverSubset{"v1": {Filter: "Service.Meta.version == v1"}, "v2": {Filter: "Service.Meta.version == v2"}},
	})
	settled := func(want string, path string) func() bool {
		return func() bool {
			for range 20 {
				if ask(path) != want {
					return false
				}
			}
			return true
		}
	}
	eventually(t, time.Second, "all calls go to v1", settled(name+" v1 /", "/"))

	write(t, agent, &api.ServiceRouterConfigEntry{Kind: api.ServiceRouter, Name: name, Routes: []api.ServiceRoute{
		{
			Match:       &api.ServiceRouteMatch{HTTP: &api.ServiceRouteHTTPMatch{PathPrefix: "/api/"}},
			Destination: &api.ServiceRouteDestination{Service: other, PrefixRewrite: "/"},
		},
		{
			Match:       &api.ServiceRouteMatch{HTTP: &api.ServiceRouteHTTPMatch{PathExact: "/new"}},
			Destination: &api.ServiceRouteDestination{ServiceSubset: "v2"},
		},
	}})
	eventually(t, time.Second, "the router leads to the other service", settled(other+" v1 /x", "/api/x"))
	if got := ask("/new"); got != name+" v2 /new" {
		t.Errorf("the second route leads to %s", got)
	}
	if got := ask("/"); got != name+" v1 /" {
		t.Errorf("what no route fits goes to %s", got)
	}
}

// The extension beside the entries is in force too, and a bad one is refused.
func TestConsulMetaIsPolicy(t *testing.T) {
	agent := consultest.Shared(t)
	name := consultest.Name(t, "web")
	m := consulMesh(t, agent, name)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(slow.Close)
	registered(t, m, mesh.Registration{Service: name, ID: name}, slow.Listener.Addr().String())
	defaults := func(meta map[string]string) {
		write(t, agent, &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: name, Protocol: "http", Meta: meta})
	}
	took := func() time.Duration {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+name+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := m.HTTPClient().Do(req); err == nil {
			_ = res.Body.Close() // it will not come to that
		}
		return time.Since(began)
	}
	defaults(map[string]string{"innermesh/timeout.total": "150ms"})
	eventually(t, 10*time.Second, "calls end after 150 ms", func() bool { d := took(); return d > 100*time.Millisecond && d < 400*time.Millisecond })
	defaults(map[string]string{"innermesh/timeout.total": "fast"})
	eventually(t, 5*time.Second, "the refusal is explained", func() bool {
		e, err := m.Explain(t.Context(), request(t, http.MethodGet, "http://"+name+"/", nil))
		return err == nil && len(e.Refused) == 1 && e.Refused[0].Index > 0 &&
			strings.Contains(e.String(), `"fast" is not a duration`) && strings.Contains(e.String(), `"150ms"`)
	})
	defaults(map[string]string{"innermesh/timeout.total": "500ms"})
	eventually(t, 5*time.Second, "calls end after 500 ms", func() bool { d := took(); return d > 450*time.Millisecond && d < 1500*time.Millisecond })
	if e, err := m.Explain(t.Context(), request(t, http.MethodGet, "http://"+name+"/", nil)); err != nil || len(e.Refused) != 0 {
		t.Errorf("all is well, and still: %v, %v", err, e)
	}
}
