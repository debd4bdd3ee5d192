package mesh_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// A program that starts while Consul is down goes by what an earlier one has
// kept, at once; when Consul is back it follows it again, and no call has failed.
func TestKeptStateServesWhileConsulIsDown(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a real agent to restart")
	}
	agent := consultest.Start(t, consultest.Options{Persistent: true})
	name := consultest.Name(t, "web")
	dir := t.TempDir()
	started := func() *mesh.Mesh {
		m, err := mesh.New(t.Context(), mesh.Options{
			Service: "checkout", SnapshotDir: dir, Logger: slog.New(slog.DiscardHandler),
			Consul: mesh.ConsulOptions{Address: agent.HTTPAddr, KVPrefix: name},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close(context.Background()) })
		return m
	}
	s := httptest.NewServer(echo("web"))
	t.Cleanup(s.Close)
	client := consulClient(t, agent)
	host, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	// Registered by nobody who would say good-bye, and without a check.
	if err := client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: name, Address: host, Port: number}); err != nil {
		t.Fatal(err)
	}
	write(t, agent, speaksHTTP(name), &api.ServiceRouterConfigEntry{Kind: api.ServiceRouter, Name: name, Routes: []api.ServiceRoute{{
		Match:       &api.ServiceRouteMatch{HTTP: &api.ServiceRouteHTTPMatch{PathPrefix: "/old/"}},
		Destination: &api.ServiceRouteDestination{PrefixRewrite: "/new/"},
	}}})
	ask := func(m *mesh.Mesh) string {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		res, err := m.HTTPClient().Do(request(t, http.MethodGet, "http://"+name+"/old/x", nil).WithContext(ctx))
		if err != nil {
			return err.Error()
		}
		return read(t, res)
	}
	want := "web GET " + name + " /new/x"
	first := started()
	eventually(t, 5*time.Second, "the route is in force", func() bool { return ask(first) == want })
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	if err := agent.Stop(); err != nil {
		t.Fatal(err)
	}
	second := started()
	began := time.Now()
	if got := ask(second); got != want {
		t.Fatalf("while Consul is down: %s", got)
	}
	if took := time.Since(began); took > 500*time.Millisecond { // 100 ms on a machine that has nothing else to do
		t.Errorf("the first call took %v", took)
	}
	e, err := second.Explain(t.Context(), request(t, http.MethodGet, "http://"+name+"/old/x", nil))
	if err != nil || e.Route == "" {
		t.Errorf("explained as %v, %v", e, err)
	}
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := consulClient(t, agent).ConfigEntries().Delete(api.ServiceRouter, name, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, 40*time.Second, "Consul is followed again", func() bool {
		got := ask(second)
		if got != want && got != "web GET "+name+" /old/x" {
			t.Errorf("a call has failed: %s", got)
		}
		return got != want
	})
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Errorf("kept files: %v, %v", files, err)
	}
}

func TestPolicyFileIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	put := func(content string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	put("defaults: {timeout: {total: 3s}}\nservices: {web: {routes: [{name: first, to: [{service: next}]}]}}\n")
	m := newMesh(t, mesh.Options{
		Discovery:  discovery.Static{"web": {web(t, echo("web"))}, "next": {web(t, echo("next"))}},
		PolicyFile: path,
		Pinned:     map[string]policy.Service{"web": {Retry: policy.Retry{Attempts: 2}}},
	})
	explained := func() string {
		e, err := m.Explain(limited(t), request(t, http.MethodGet, "http://web/", nil))
		if err != nil {
			t.Fatal(err)
		}
		return e.String()
	}
	if got := explained(); !strings.Contains(got, `"3s"`) || !strings.Contains(got, `"first"`) || !strings.Contains(got, "by file "+path+" defaults") {
		t.Errorf("at first:\n%s", got)
	}
	put("services: {web: {routes: [{name: second}]}}\n")
	eventually(t, 5*time.Second, "the change is in force", func() bool {
		return strings.Contains(explained(), `"second"`) && !strings.Contains(explained(), `"3s"`)
	})
	put("services: {web: {routs: []}}\n")
	eventually(t, 5*time.Second, "the mistake is told", func() bool {
		return strings.Contains(explained(), `"second"`) && strings.Contains(explained(), "did you mean")
	})
	put("{}")
	eventually(t, 5*time.Second, "all is withdrawn", func() bool {
		return !strings.Contains(explained(), "takes the route") && !strings.Contains(explained(), "refused at")
	})
}

func TestPolicyFileThatIsNotThere(t *testing.T) {
	m := newMesh(t, mesh.Options{
		Discovery: discovery.Static{"web": {web(t, ok)}}, PolicyFile: filepath.Join(t.TempDir(), "none"),
	})
	res, err := page(t, m, "http://web/")
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	e, err := m.Explain(limited(t), request(t, http.MethodGet, "http://web/", nil))
	if err != nil || len(e.Refused) != 1 {
		t.Errorf("explained as %v, %v", e, err)
	}
}
