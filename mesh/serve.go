package mesh

import (
	"net/http"

	"google.golang.org/grpc"

	"github.com/innermesh/innermesh/internal/grpcadapter"
	"github.com/innermesh/innermesh/internal/httpadapter"
)

// Handler has the calls that next makes to serve a request go by what the
// request's caller has told: they end with its deadline, where it tells one (see
// timeout.tell), and if the request is itself a further attempt they are not
// tried again by default (see retry.nested). Give them the request's context.
//
// It also serves HTTP/2 to clients who begin with it without having negotiated it,
// in plain text or through proxies that negotiate nothing, Consul's own among them.
func (m *Mesh) Handler(next http.Handler) http.Handler {
	return m.prior.Handler(httpadapter.Serve(next))
}

// ServerOptions are [Mesh.Handler] for a gRPC server.
func (m *Mesh) ServerOptions() []grpc.ServerOption { return grpcadapter.ServerOptions() }
