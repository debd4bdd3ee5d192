package mesh

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
)

// Serving says what [Mesh.Serve] serves, and how it leaves. One of HTTP and GRPC
// is required.
type Serving struct {
	// Addr is the TCP address to listen on, as ":8080". Default: ":0", any port.
	Addr string
	// HTTP handles what comes over HTTP, by way of [Mesh.Middleware]. Default:
	// none.
	HTTP http.Handler
	// GRPC registers what comes over gRPC, as in
	//
	//	func(s *grpc.Server) { pb.RegisterOrdersServer(s, orders) }
	//
	// The health service is added unless it registers one. Together with HTTP it is
	// on one port; calls are told apart by their content type. Default: none.
	GRPC func(*grpc.Server)
	// GRPCOptions come after [Mesh.GRPCServerOptions]. With HTTP on the same port
	// those about connections have no effect. Default: none.
	GRPCOptions []grpc.ServerOption
	// GRPCAddr is an address for gRPC alone, which is faster there than beside HTTP.
	// It is registered as the port grpc, such as orders-grpc. Callers over mTLS
	// expect the identity of the service that they call, and find that of this
	// program: stay with one port there, which with [TLSOptions].Consul is demanded
	// of what is registered. Default: none, Addr.
	GRPCAddr string
	// HealthAddr is an address for /livez and /readyz alone, in plain text: for a
	// kubelet or an agent that has no certificate. Default: none, they are on Addr,
	// before the handler of HTTP.
	HealthAddr string

	// Registration is how it is announced. Its ports, and if it is empty its
	// address, are those that Serve listens on.
	Registration Registration
	// Unregistered leaves it unannounced, as does a mesh without a registrar.
	// Default: false.
	Unregistered bool
	// Probe lets Consul's agent probe /readyz, or gRPC's health service where there
	// is no HTTP, instead of waiting for signs of life. Over mTLS it needs
	// HealthAddr. Default: false.
	Probe bool

	// Notice bounds how long callers may take to notice that it leaves: until the
	// registry shows it gone and no new calls have arrived for Quiet. Default: 10 s.
	Notice time.Duration
	// Quiet is how long no new call may have arrived before callers are taken to
	// have noticed. Sidecars take 1 to 2 s. Default: 2 s; negative: none.
	Quiet time.Duration
	// Finish bounds how long the calls and streams that are under way then may take.
	// With Notice it stays below the 30 s that Kubernetes gives. Default: 15 s.
	Finish time.Duration

	// Listening is called when it listens, before it is announced. Default: nobody.
	Listening func(Listening)
	// Announced is called when it has been registered for the first time. Default:
	// nobody.
	Announced func(*Registered)
}

// Listening is where [Mesh.Serve] listens.
type Listening struct {
	// Addr is that of HTTP, and of gRPC if it has none of its own.
	Addr net.Addr
	// GRPC and Health are those of their own, nil if there are none.
	GRPC, Health net.Addr
}

// Validate names every field that is wrong.
func (s Serving) Validate() error {
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, &OptionError{Field: "Serving." + field, Problem: fmt.Sprintf(format, args...)})
	}
	if s.HTTP == nil && s.GRPC == nil {
		fault("HTTP", "is nil, and so is GRPC: what is to be served?")
	}
	if s.GRPCAddr != "" && (s.GRPC == nil || s.HTTP == nil) {
		fault("GRPCAddr", "is %q, but HTTP and GRPC are not both served: use Addr", s.GRPCAddr)
	}
	for field, addr := range map[string]string{"Addr": s.Addr, "GRPCAddr": s.GRPCAddr, "HealthAddr": s.HealthAddr} {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			fault(field, "is %q: want host:port or :port", addr)
		}
	}
	if len(s.Registration.Ports) > 0 || s.Registration.Port != 0 {
		fault("Registration.Port", "is set: the ports are those that are listened on")
	}
	if s.Probe && (s.Registration.CheckHTTP != "" || s.Registration.CheckGRPC != "") {
		fault("Probe", "is true, and Registration has checks of its own: choose one")
	}
	for field, d := range map[string]time.Duration{"Notice": s.Notice, "Finish": s.Finish} {
		if d < 0 {
			fault(field, "is %v: want 0 (default) or more", d)
		}
	}
	return errors.Join(faults...)
}

// withDefaults fills in what is not said.
func (s Serving) withDefaults() Serving {
	s.Addr = cmp.Or(s.Addr, ":0")
	s.Notice = cmp.Or(s.Notice, 10*time.Second)
	s.Quiet = max(cmp.Or(s.Quiet, 2*time.Second), 0)
	s.Finish = cmp.Or(s.Finish, 15*time.Second)
	return s
}
