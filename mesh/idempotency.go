package mesh

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/internal/grpcadapter"
	"github.com/innermesh/innermesh/tlsutil"
)

// IdempotencyGuard returns a guard for servers of this program: as
// [idempotency.New], and it tells callers of the mesh apart by their SPIFFE IDs,
// logs through the mesh's logger and is counted in the mesh's metrics, until the
// mesh is closed. It guards an HTTP handler with guard.Middleware, and a gRPC
// server with [Mesh.IdempotencyServerOptions].
//
// Callers are told apart if [TLSOptions].Source is set and the server has its
// configuration from package tlsutil, or asks for and verifies client
// certificates itself. All others are one caller: see
// [idempotency.HTTPOptions].Caller.
func (m *Mesh) IdempotencyGuard(o idempotency.Options) (*idempotency.Guard, error) {
	if o.Logger == nil {
		o.Logger = m.log
	}
	if o.HTTP.Caller == nil {
		o.HTTP.Caller = func(r *http.Request) string { return m.peerName(r.TLS) }
	}
	g, err := idempotency.New(o)
	if err != nil {
		return nil, err
	}
	m.guards.add(g)
	return g, nil
}

// IdempotencyOptions say how a gRPC server's calls are guarded.
type IdempotencyOptions = grpcadapter.IdempotencyOptions

// IdempotencyServerOptions make a gRPC server carry out calls with a key once:
//
//	o, err := m.IdempotencyServerOptions(mesh.IdempotencyOptions{Guard: guard})
//	server := grpc.NewServer(o...)
//
// Who calls is told as for [Mesh.IdempotencyGuard], unless Caller says otherwise.
// Messages have to be protobuf's.
func (m *Mesh) IdempotencyServerOptions(o IdempotencyOptions) ([]grpc.ServerOption, error) {
	if o.Guard == nil {
		return nil, &OptionError{Field: "IdempotencyOptions.Guard", Problem: "is nil: make one with Mesh.IdempotencyGuard"}
	}
	if o.Caller == nil {
		o.Caller = m.peerOf
	}
	return grpcadapter.IdempotencyServerOptions(o), nil
}

// peerOf names who makes a gRPC call.
func (m *Mesh) peerOf(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			return m.peerName(&info.State)
		}
	}
	return ""
}

// peerName names whoever is at the other end of a connection. What crypto/tls has
// not verified itself was verified by a configuration of package tlsutil; without
// a source there is none.
func (m *Mesh) peerName(state *tls.ConnectionState) string {
	if state == nil {
		return ""
	}
	if name := idempotency.Certified(state); name != "" || m.o.TLS.Source == nil {
		return name
	}
	id, err := tlsutil.PeerID(*state)
	if err != nil { // it has shown no certificate
		return ""
	}
	return id.String()
}

// guards are those whose requests are counted.
type guards struct {
	mu  sync.Mutex
	all []*idempotency.Guard
}

func (g *guards) add(one *idempotency.Guard) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all = append(g.all, one)
}

// count sums up what became of the requests.
func (g *guards) count(tell func(result string, n uint64)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.all) == 0 {
		return
	}
	sum := map[string]uint64{}
	for _, one := range g.all {
		s := one.Stats()
		for result, n := range map[string]uint64{
			"first": s.First, "replayed": s.Replayed, "waited": s.Waited, "running": s.Conflicts, "mismatch": s.Mismatches,
			"key-invalid": s.Malformed, "key-required": s.NoKey, "not-kept": s.NotKept, "lapsed": s.Lapsed, "dropped": s.Dropped,
			"lost": s.Lost, "store-unavailable": s.Refused, "unguarded": s.Unguarded, "unkept": s.Unkept,
		} {
			sum[result] += n
		}
	}
	for result, n := range sum {
		tell(result, n)
	}
}
