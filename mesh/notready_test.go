package mesh_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
)

// Who serves before it is ready is announced, and called once it says that it is.
func TestServeNotReady(t *testing.T) {
	registry := new(discovery.Memory)
	v := beginServing(t, mesh.Options{Discovery: registry}, mesh.Serving{
		Quiet: -1, Registration: mesh.Registration{NotReady: true},
		HTTP: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
	})
	if all := instancesOf(t, registry, "orders"); len(all) != 1 || all[0].Health != discovery.Critical {
		t.Errorf("before it is ready: %+v", all)
	}
	v.mesh.Health().Ready()
	eventually(t, 5*time.Second, "it is ready", func() bool {
		all := instancesOf(t, registry, "orders")
		return len(all) == 1 && all[0].Health == discovery.Passing
	})
}
