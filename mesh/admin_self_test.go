package mesh_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
)

// An operator takes this very program into maintenance and back, and has it drained,
// where the page may do so.
func TestAdminDuties(t *testing.T) {
	registry := new(discovery.Memory)
	m := newMesh(t, mesh.Options{Discovery: registry, Admin: mesh.AdminOptions{Actions: true}})
	do := func(id string) int {
		r := httptest.NewRequest(http.MethodPost, "/duty", strings.NewReader("id="+id))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		m.AdminHandler().ServeHTTP(w, r)
		return w.Code
	}
	facts := func() []string {
		var all []string
		for _, f := range looked[struct {
			Process struct {
				Health []struct{ Name, Value string }
			}
		}](t, m, "overview").Process.Health {
			all = append(all, f.Value)
		}
		return all
	}
	if got := facts(); len(got) != 0 {
		t.Errorf("a program that serves nobody is told to be %q", got)
	}
	if code := do("drain"); code != http.StatusForbidden {
		t.Errorf("a program that is not announced is drained: %d", code)
	}
	if _, err := m.Register(t.Context(), mesh.Registration{Port: 4321, Address: "127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		id    string
		ready bool
	}{{"maintain", false}, {"end-maintenance", true}, {"drain", false}} {
		if code := do(step.id); code != http.StatusSeeOther {
			t.Errorf("%s: %d", step.id, code)
		}
		if got := facts(); slices.Contains(got, "ready") != step.ready {
			t.Errorf("after %s it is %q", step.id, got)
		}
	}
	if code := do("explode"); code != http.StatusForbidden {
		t.Errorf("what nobody offers is done: %d", code)
	}
}
