package mesh_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
)

//nolint:testableexamples // it wants a Consul; the others run
func Example() {
	ctx := context.Background()
	m, err := mesh.New(ctx, mesh.Options{Service: "checkout"}) // Consul by the CONSUL_* variables
	if err != nil {
		log.Fatal(err) // only wrong options: all of them are named
	}
	defer m.Close(ctx)

	res, err := m.HTTPClient().Get("http://inventory/items/42")
	if err != nil {
		log.Print(err)
		return
	}
	defer res.Body.Close()

	conn, err := m.GRPCClient("payments")
	if err != nil {
		log.Print(err)
		return
	}
	payments := healthpb.NewHealthClient(conn) // any generated stub
	_, err = payments.Check(ctx, &healthpb.HealthCheckRequest{})
	log.Print(err)
}

func ExampleMesh_HTTPClient() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s has %s", r.Host, r.URL.Path)
	}))
	defer server.Close()

	ctx := context.Background()
	m, err := mesh.New(ctx, mesh.Options{
		Service:   "checkout",
		Discovery: discovery.Static{"inventory": {server.Listener.Addr().String()}},
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer m.Close(ctx)

	res, err := m.HTTPClient().Get("http://inventory/items/42")
	if err != nil {
		log.Print(err)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	fmt.Println(string(body), err)
	// Output: inventory has /items/42 <nil>
}

func ExampleMesh_GRPCClient() {
	ctx := context.Background()
	m, err := mesh.New(ctx, mesh.Options{Service: "checkout", Discovery: discovery.Static{"payments": nil}})
	if err != nil {
		log.Print(err)
		return
	}
	defer m.Close(ctx)
	conn, err := m.GRPCClient("payments")
	if err != nil {
		log.Print(err)
		return
	}
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	fmt.Println(err)
	// Output: innermesh: payments /grpc.health.v1.Health/Check: the service has no instance: start one, or wait for one to register
}

func ExampleMesh_Register() {
	registry := new(discovery.Memory) // Consul, unless told otherwise
	ctx := context.Background()
	m, err := mesh.New(ctx, mesh.Options{Service: "inventory", Discovery: registry})
	if err != nil {
		log.Print(err)
		return
	}
	if _, err := m.Register(ctx, mesh.Registration{Port: 8080}); err != nil {
		log.Print(err)
	}
	fmt.Println("ready:", m.Ready(ctx, "inventory"))
	fmt.Println("left:", m.Close(ctx))
	// Output:
	// ready: <nil>
	// left: <nil>
}
