// Payments takes payments over gRPC. It is an ordinary server; what makes it a
// member of the mesh is in package member.
package main

import (
	"context"
	"crypto/tls"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/innermesh/innermesh/examples/consul/internal/member"
)

func main() { member.Main("payments", serve) }

func serve(l net.Listener, config *tls.Config) (shutdown func(context.Context) error) {
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	// The standard health service stands for payments, so that the example needs
	// no generated code of its own.
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() {
		if err := server.Serve(l); err != nil {
			log.Fatal(err)
		}
	}()
	return func(ctx context.Context) error {
		inTime := context.AfterFunc(ctx, server.Stop)
		defer inTime()
		server.GracefulStop()
		return ctx.Err()
	}
}
