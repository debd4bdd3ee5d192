package mesh_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

// Without an agent a program serves, is found, and leaves no node behind.
func TestServeAgentless(t *testing.T) {
	agent := consultest.Shared(t)
	consul, err := agent.Client()
	if err != nil {
		t.Fatal(err)
	}
	service := consultest.Name(t, "orders")
	server := mesh.Options{Consul: mesh.ConsulOptions{Address: agent.HTTPAddr, Agentless: true}}
	v := beginServing(t, server, mesh.Serving{
		Quiet: -1, Registration: mesh.Registration{Service: service},
		HTTP: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
	})
	found, _, err := consul.Health().Service(service, "", true, nil)
	if err != nil || len(found) != 1 || found[0].Node.Node != "innermesh-"+found[0].Service.ID {
		t.Fatalf("found %+v, %v", found, err)
	}
	client := newMesh(t, mesh.Options{Consul: mesh.ConsulOptions{Address: agent.HTTPAddr}}).HTTPClient()
	res, err := client.Get("http://" + service + "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("called: %s, %v", res.Status, err)
	}
	v.leave()
	if err := v.left(t, 10*time.Second); err != nil {
		t.Error(err)
	}
	if left, _, err := consul.Catalog().Node(found[0].Node.Node, nil); err != nil || left != nil {
		t.Errorf("left behind: %+v, %v", left, err)
	}
	err = v.mesh.Serve(t.Context(), mesh.Serving{
		Addr: "127.0.0.1:0", Quiet: -1, Probe: true, HTTP: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
	})
	if err == nil || !strings.Contains(err.Error(), "nobody probes without an agent") {
		t.Errorf("probed: %v", err)
	}
}
