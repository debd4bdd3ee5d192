package mesh_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

// Calls to services that nobody has called before may come while the mesh
// closes: what they begin ends with it.
func TestCloseWhileServicesComeToLife(t *testing.T) {
	const rounds, callers, services = 40, 4, 10
	sources := map[string]func() mesh.Options{
		"static": func() mesh.Options { return mesh.Options{Discovery: discovery.Static{"s1": {deadAddress(t)}}} },
	}
	if !testing.Short() {
		agent := consultest.Shared(t)
		sources["consul"] = func() mesh.Options {
			return mesh.Options{Consul: mesh.ConsulOptions{Address: agent.HTTPAddr}}
		}
	}
	for name, options := range sources {
		t.Run(name, func(t *testing.T) {
			for range rounds {
				m := newMesh(t, options())
				client := m.HTTPClient()
				var all sync.WaitGroup
				begun := make(chan struct{}, callers*services)
				for caller := range callers {
					all.Go(func() {
						for i := range services {
							req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://s%d-%d/", caller, i), http.NoBody)
							if err != nil {
								t.Error(err)
								return
							}
							begun <- struct{}{}
							if res, err := client.Do(req); err == nil {
								_ = res.Body.Close()
							}
						}
					})
				}
				for range callers {
					<-begun
				}
				if err := m.Close(t.Context()); err != nil {
					t.Error(err)
				}
				all.Wait()
			}
		})
	}
}
