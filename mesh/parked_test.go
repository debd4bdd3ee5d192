package mesh_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// explained is what Explain says of a request to a service.
func explained(t *testing.T, m *mesh.Mesh, service string) string {
	t.Helper()
	e, err := m.Explain(limited(t), request(t, http.MethodGet, "http://"+service+"/", nil))
	if err != nil {
		return err.Error()
	}
	return e.String()
}

// Two changes that are good only together are in force together, whichever comes
// first.
func TestChangesThatNeedEachOther(t *testing.T) {
	agent := consultest.Shared(t)
	name := consultest.Name(t, "web")
	m := consulMesh(t, agent, name)
	serve(t, m, name, name)
	kv := consulClient(t, agent).KV()
	put := func(key, value string) {
		t.Helper()
		if _, err := kv.Put(&api.KVPair{Key: name + key, Value: []byte(value)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	const long, most = `{"retry": {"backoff": {"base": "400ms"}}}`, `{"retry": {"backoff": {"max": "1s"}}}`
	eventually(t, 5*time.Second, "calls are explained", func() bool { return strings.Contains(explained(t, m, name), "candidate") })
	put("/services/"+name, long)
	eventually(t, 5*time.Second, "the first change is refused", func() bool {
		s := explained(t, m, name)
		return strings.Contains(s, "refused at") && strings.Contains(s, `"25ms"`)
	})
	put("/defaults", most)
	eventually(t, 5*time.Second, "both are in force", func() bool {
		s := explained(t, m, name)
		return !strings.Contains(s, "refused at") && strings.Contains(s, `"400ms"`) && strings.Contains(s, `"1s"`)
	})
	// So do those who hear of them in whatever order.
	for range 5 {
		late := consulMesh(t, agent, name)
		if s := explained(t, late, name); strings.Contains(s, "refused at") || !strings.Contains(s, `"400ms"`) {
			t.Fatalf("a program that starts later:\n%s", s)
		}
	}
	// Now the other way round: the defaults can not go before the service's.
	if _, err := kv.Delete(name+"/defaults", nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the removal is refused", func() bool { return strings.Contains(explained(t, m, name), "refused at") })
	put("/services/"+name, "{}")
	eventually(t, 5*time.Second, "all is built-in again", func() bool {
		s := explained(t, m, name)
		return !strings.Contains(s, "refused at") && strings.Contains(s, `"25ms"`) && strings.Contains(s, `"250ms"`)
	})
}

// A file is written at once, and its parts are taken at once.
func TestPolicyFileIsOneChange(t *testing.T) {
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
	put("defaults: {retry: {backoff: {max: 1s}}}\nservices: {web: {retry: {backoff: {base: 400ms}}}}\n")
	m := newMesh(t, mesh.Options{Discovery: discovery.Static{"web": {web(t, ok)}}, PolicyFile: path})
	if s := explained(t, m, "web"); !strings.Contains(s, `"400ms"`) || strings.Contains(s, "refused at") {
		t.Errorf("at first:\n%s", s)
	}
	put("{}")
	eventually(t, 5*time.Second, "both are gone", func() bool {
		s := explained(t, m, "web")
		return strings.Contains(s, `"25ms"`) && strings.Contains(s, `"250ms"`) && !strings.Contains(s, "refused at")
	})
}

// What is pinned and what is said to all may contradict each other for one
// service: then that goes by its program's options, and calls go on.
func TestPinnedContradictsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(path, []byte("defaults: {retry: {backoff: {base: 5ms, max: 10ms}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := newMesh(t, mesh.Options{
		Discovery: discovery.Static{"web": {web(t, ok)}, "other": {web(t, ok)}}, PolicyFile: path,
		Pinned: map[string]policy.Service{"web": {
			Retry: policy.Retry{Backoff: policy.Backoff{Base: policy.Duration(100 * time.Millisecond)}}, Routes: []policy.Route{{Name: "mine"}},
		}},
	})
	if s := explained(t, m, "other"); !strings.Contains(s, `"10ms"`) {
		t.Errorf("another service:\n%s", s)
	}
	if s := explained(t, m, "web"); !strings.Contains(s, `"mine"`) || !strings.Contains(s, `"250ms"`) || !strings.Contains(s, "refused at") {
		t.Errorf("the pinned one:\n%s", s)
	}
	res, err := page(t, m, "http://web/")
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
}
