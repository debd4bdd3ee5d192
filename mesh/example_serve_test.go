package mesh_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"

	"github.com/innermesh/innermesh/mesh"
)

//nolint:testableexamples // it wants a Consul, and serves until it is told to end
func Example_serve() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	m, err := mesh.New(ctx, mesh.Options{Service: "orders", TLS: mesh.TLSOptions{Consul: true}})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(context.WithoutCancel(ctx))
	err = m.Serve(ctx, mesh.Serving{
		Addr: ":8443",
		HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who, _ := mesh.CallerFromContext(r.Context())
			fmt.Fprintf(w, "hello %s", who.Service)
		}),
		GRPC: func(s *grpc.Server) { /* pb.RegisterOrdersServer(s, orders) */ },
	})
	log.Print(err)
}
