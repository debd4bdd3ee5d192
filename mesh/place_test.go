package mesh_test

import (
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

// Who does not say where it is, is where its agent is.
func TestPlaceIsTheAgents(t *testing.T) {
	for name, config := range map[string]string{
		"node meta": `node_meta { region = "eu" zone = "b" }`,
		"locality":  `locality { region = "eu" zone = "b" }`,
	} {
		t.Run(name, func(t *testing.T) {
			agent := consultest.Start(t, consultest.Options{Config: config})
			client := consulClient(t, agent)
			var near, far atomic.Int64
			for zone, n := range map[string]*atomic.Int64{"a": &far, "b": &near, "c": &far} {
				addr := web(t, func(http.ResponseWriter, *http.Request) { n.Add(1) })
				host, port, err := net.SplitHostPort(addr)
				if err != nil {
					t.Fatal(err)
				}
				number, err := strconv.Atoi(port)
				if err != nil {
					t.Fatal(err)
				}
				if err := client.Agent().ServiceRegister(&api.AgentServiceRegistration{
					ID: zone, Name: "web", Address: host, Port: number, Locality: &api.Locality{Region: "eu", Zone: zone},
				}); err != nil {
					t.Fatal(err)
				}
			}
			m := newMesh(t, mesh.Options{Consul: mesh.ConsulOptions{Address: agent.HTTPAddr}})
			get := func() {
				res, err := page(t, m, "http://web/")
				if err != nil {
					t.Fatal(err)
				}
				read(t, res)
			}
			eventually(t, 10*time.Second, "twenty calls in a row stay in the zone", func() bool {
				before := far.Load()
				for range 20 {
					get()
				}
				return far.Load() == before
			})
			if near.Load() < 20 {
				t.Errorf("%d calls stayed in the zone", near.Load())
			}
		})
	}
}
