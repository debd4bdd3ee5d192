package mesh_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

// An agent that runs and knows nothing, or something that is no agent at all, is
// as silent as one that is down: a program that starts goes by what was kept,
// routes included.
func TestKeptStateServesWhileTheAgentHasNoAnswers(t *testing.T) {
	agent := consultest.Shared(t)
	name := consultest.Name(t, "web")
	var instead atomic.Pointer[http.HandlerFunc]
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: agent.HTTPAddr})
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := instead.Load(); h != nil {
			(*h)(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	dir := t.TempDir()
	started := func(t *testing.T) *mesh.Mesh {
		t.Helper()
		return newMesh(t, mesh.Options{
			Service: "checkout", SnapshotDir: dir, Consul: mesh.ConsulOptions{Address: front.URL, KVPrefix: name},
		})
	}
	s := httptest.NewServer(echo("web"))
	t.Cleanup(s.Close)
	write(t, agent, speaksHTTP(name), &api.ServiceRouterConfigEntry{Kind: api.ServiceRouter, Name: name, Routes: []api.ServiceRoute{{
		Match:       &api.ServiceRouteMatch{HTTP: &api.ServiceRouteHTTPMatch{PathPrefix: "/old/"}},
		Destination: &api.ServiceRouteDestination{PrefixRewrite: "/new/"},
	}}})
	ask := func(m *mesh.Mesh) string {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		res, err := m.HTTPClient().Do(request(t, http.MethodGet, "http://"+name+"/old/x", nil).WithContext(ctx))
		if err != nil {
			return err.Error()
		}
		return read(t, res)
	}
	want := "web GET " + name + " /new/x"
	kv := consulClient(t, agent).KV()
	document := func(value string) {
		t.Helper()
		if _, err := kv.Put(&api.KVPair{Key: name + "/services/" + name, Value: []byte(value)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	document(`{"retry": {"attempts": 2}}`)
	registered(t, consulMesh(t, agent, name), mesh.Registration{Service: name, ID: name}, s.Listener.Addr().String())
	first := started(t)
	eventually(t, 5*time.Second, "the route is in force", func() bool { return ask(first) == want })
	// What is refused because it contradicts something else is not kept.
	document(`{"retry": {"attempts": 4, "backoff": {"base": "400ms"}}}`)
	eventually(t, 5*time.Second, "the change is refused", func() bool { return strings.Contains(explained(t, first, name), "refused at") })
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	for answer, h := range map[string]http.HandlerFunc{
		"no servers": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "No known Consul servers", http.StatusInternalServerError)
		},
		"too many connections": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "Your IP is issuing too many concurrent connections", http.StatusTooManyRequests)
		},
		"somebody else's page": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>log in, please") },
		"JSON of another kind": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"error": []}`) },
	} {
		t.Run(answer, func(t *testing.T) {
			instead.Store(&h)
			defer instead.Store(nil)
			m := started(t)
			for range 3 {
				if got := ask(m); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			e, err := m.Explain(limited(t), request(t, http.MethodGet, "http://"+name+"/old/x", nil))
			if err != nil || len(e.Refused) > 0 || !strings.Contains(e.String(), "kept since") || !strings.Contains(e.String(), "retry.attempts       2 ") {
				t.Errorf("explained as %v, %v", e, err)
			}
		})
	}
}
