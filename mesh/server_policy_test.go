package mesh_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// A program's own policy is followed while it serves, what others say wins over
// what it says itself, and it is told who said what.
func TestServerFollowsItsPolicy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("services: {checkout: {inbound: {concurrency: none}}, other: {inbound: {concurrency: none}}}")
	m := newMesh(t, mesh.Options{
		Discovery: addresses{}, PolicyFile: path,
		Server:   mesh.ServerOptions{Inbound: policy.Inbound{Concurrency: 7, Queue: 3}},
		Defaults: policy.Service{Inbound: policy.Inbound{Queue: 2, Least: policy.Off}},
	})
	s := muted(t, m.Middleware(http.HandlerFunc(ok)))
	status := func() int {
		res, err := s.Client().Do(request(t, http.MethodGet, s.URL, nil))
		if err != nil {
			t.Fatal(err)
		}
		read(t, res)
		return res.StatusCode
	}
	eventually(t, patience, "nobody is let in", func() bool { return status() == http.StatusServiceUnavailable })
	said := map[string]policy.Said{}
	for _, s := range m.ExplainServer().Terms {
		said[s.Path] = s
	}
	for path, want := range map[string]string{
		"inbound.concurrency": "none by file ", "inbound.queue": "3 by Options.Server", "inbound.least": "off by Options.Defaults", "inbound.wait": "100ms by built-in",
	} {
		if got := strings.Trim(said[path].Value, `"`) + " by " + said[path].Origin; !strings.HasPrefix(got, want) {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	write("services: {checkout: {inbound: {concurrency: -5}}}")
	eventually(t, patience, "the fault is told", func() bool { return len(m.ExplainServer().Refused) == 1 })
	if status() != http.StatusServiceUnavailable {
		t.Error("a bad policy has replaced a good one")
	}
	write("{}")
	eventually(t, patience, "everybody is let in", func() bool { return status() == http.StatusOK })
}

// Callers are not bothered with what their callee lets in.
func TestExplainLeavesOutInbound(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {"127.0.0.1:1"}}})
	e, err := m.Explain(limited(t), request(t, http.MethodGet, "http://web/", nil))
	if err != nil || strings.Contains(e.String(), "inbound") {
		t.Errorf("%v, %v", e, err)
	}
}

func TestServerOptionsAreValidated(t *testing.T) {
	_, err := mesh.New(context.Background(), mesh.Options{Service: "x", Server: mesh.ServerOptions{Inbound: policy.Inbound{Wait: policy.Off}}})
	if e, ok := errors.AsType[*mesh.OptionError](err); !ok || e.Field != "Server" || !strings.Contains(e.Problem, "inbound.wait") {
		t.Errorf("%v", err)
	}
}
