// Payments takes payments over gRPC. It is an ordinary service; what makes it a
// member of the mesh is in package member.
package main

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/innermesh/innermesh/examples/consul/internal/member"
	"github.com/innermesh/innermesh/mesh"
)

func main() {
	member.Main("payments", mesh.Serving{GRPC: func(s *grpc.Server) {
		// The standard health service stands for payments, so that the example needs
		// no generated code of its own.
		healthpb.RegisterHealthServer(s, health.NewServer())
	}})
}
