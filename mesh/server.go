package mesh

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/innermesh/innermesh/inbound"
	"github.com/innermesh/innermesh/inbound/access"
	"github.com/innermesh/innermesh/internal/grpcadapter"
	"github.com/innermesh/innermesh/internal/httpadapter"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/policy"
)

// ServerOptions say how this program serves.
type ServerOptions struct {
	// Inbound is how much it takes in. It is laid over [Options].Defaults; what
	// Consul says of this program's service wins over it, and is followed. See
	// inbound in docs/policy.md. Default: no limits.
	Inbound policy.Inbound
	// Access says who may call, and what is recorded of it.
	Access AccessOptions
}

// Middleware takes the requests that next serves into the mesh: the handler's
// context ends when the caller no longer waits (see timeout.tell), calls that are
// made with it go by what the request's caller has told (its ID, its priority,
// which attempt it is), what is too much is shed (see inbound), a handler that
// panics is answered for, and all is recorded. Answers carry the request's ID and,
// where there are limits, how much of them is used.
//
// It also serves HTTP/2 to clients who begin with it without having negotiated it,
// in plain text or through proxies that negotiate nothing, Consul's own among them.
//
// A request that is turned away is answered with 503, 429 or 504, and with how
// long to stay away; one that the intentions do not allow with 403, or 401 if it
// needs a better token (see [AccessOptions]). A handler that panics is logged with its stack and answered
// with 500; if it has begun to answer, or panics with [http.ErrAbortHandler], the
// connection is cut.
func (m *Mesh) Middleware(next http.Handler) http.Handler {
	m.serve()
	return m.prior.Handler(httpadapter.Serve(m.pathIn.server, next))
}

// GRPCServerOptions are [Mesh.Middleware] for a gRPC server:
//
//	grpc.NewServer(m.GRPCServerOptions()...)
//
// A stream counts as one call, from its beginning to its end. A call that is
// turned away is answered with RESOURCE_EXHAUSTED or DEADLINE_EXCEEDED, and with
// grpc-retry-pushback-ms, one that may not be made with PERMISSION_DENIED or
// UNAUTHENTICATED; a handler that panics with INTERNAL. Options of one's own
// may stand beside these; interceptors that come after them see what is let in.
// [Mesh.GRPCServerCredentials] are among them; others that come after them win.
func (m *Mesh) GRPCServerOptions() []grpc.ServerOption {
	m.serve()
	return append([]grpc.ServerOption{grpc.Creds(m.GRPCServerCredentials())}, grpcadapter.ServerOptions(m.pathIn.server)...)
}

// pathIn is what this program serves with. It follows its own policy once it is
// used.
type pathIn struct {
	server *inbound.Server
	tel    *telemetry.Server
	begin  sync.Once
	told   atomic.Bool // a policy was applied

	gate        *gate // nil: everybody may call
	connections access.Connections
}

// openServer builds the path in.
func (m *Mesh) openServer() (err error) {
	if m.pathIn.tel, err = m.tel.Server(); err != nil {
		return &OptionError{Field: "Telemetry", Problem: err.Error(), Err: err}
	}
	o := inbound.Options{Telemetry: m.pathIn.tel, Logger: m.log}
	if err = m.openAccess(&o); err != nil {
		return err
	}
	m.pathIn.server = inbound.New(o)
	m.pathIn.server.Apply(m.policies.of(m.o.Service).Inbound)
	return nil
}

// serve begins to follow the policy of this program's own service.
func (m *Mesh) serve() {
	m.pathIn.begin.Do(func() {
		m.policies.join(m.o.Service, &m.pathIn)
		if g := m.pathIn.gate; g != nil {
			if err := g.open(); err != nil {
				m.log.Error("nobody is let in: the intentions can not be followed", "error", err)
			}
		}
		stop, err := m.pathIn.tel.Observe(m.pathIn.server.Inflight)
		if err != nil {
			m.log.Error("calls that are served are not counted", "error", err)
			return
		}
		m.onClose(func(context.Context) error { return stop() })
	})
}

// Fresh implements follower.
func (s *pathIn) Fresh() bool { return !s.told.Load() }

// Apply implements follower.
func (s *pathIn) Apply(p policy.Effective) error {
	s.told.Store(true)
	s.server.Apply(p.Inbound)
	return nil
}

// ServerExplanation says on which terms this program serves, and who said so.
type ServerExplanation struct {
	// Terms are the limits in force.
	Terms []policy.Said
	// Refused are changes of the policy that could not be put in force.
	Refused []Refusal
}

// ExplainServer says on which terms this program serves.
func (m *Mesh) ExplainServer() ServerExplanation {
	return ServerExplanation{
		Terms: slices.DeleteFunc(m.policies.of(m.o.Service).Said(), func(s policy.Said) bool {
			return !strings.HasPrefix(s.Path, "inbound.")
		}),
		Refused: m.policies.refusals(m.o.Service),
	}
}
