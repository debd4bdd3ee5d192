package mesh

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/health"
	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/internal/grpcadapter"
	"github.com/innermesh/innermesh/internal/httpadapter"
	"github.com/innermesh/innermesh/internal/lastgood"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/tlsutil"
)

// Mesh is this program's part in the mesh. Create it with [New], close it with
// [Mesh.Close]. Several may live in one process; all methods are safe for
// concurrent use.
type Mesh struct {
	o         Options
	log       *slog.Logger
	tel       *telemetry.Telemetry
	directory *upstream.Directory
	policies  *policies
	registrar discovery.Registrar
	health    *health.Monitor
	dialling  []grpc.DialOption
	consul    *consul.Client  // nil until somebody needs it
	identity  tlsutil.Source  // nil: plain text
	store     *lastgood.Store // nil: nothing is kept
	configs   sync.Map        // tlsutil.ServiceID to *onTerms
	security  security
	prior     httpadapter.Prior
	guards    guards
	pathIn    pathIn
	journal   *journal
	began     time.Time
	live      live
	located   atomic.Pointer[balancer.Place] // nil until that is known

	mu       sync.Mutex
	closing  []func(context.Context) error // undone in reverse
	isClosed bool
}

// ErrClosed is the cause of calls that come after Close.
var ErrClosed = upstream.ErrClosed

// New joins the mesh. It fails only if options are wrong, and then names all
// faults, each an [*OptionError]. It does not wait for Consul: calls do, within
// their own time, and [Mesh.Ready] tells.
//
// ctx bounds nothing but New itself.
func New(ctx context.Context, o Options) (*Mesh, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	m := &Mesh{o: o, log: o.Logger, began: time.Now()}
	if m.log == nil {
		m.log = slog.Default()
	}
	m.journal = newJournal(m.log.Handler())
	m.log = slog.New(m.journal).With("mesh", o.Service)
	if err := m.build(ctx); err != nil {
		return nil, errors.Join(err, m.Close(ctx))
	}
	return m, nil
}

// build furnishes the rooms from the ground up.
func (m *Mesh) build(ctx context.Context) (err error) {
	m.openHealth()
	if m.tel, err = telemetry.New(m.o.Telemetry, m.o.Service); err != nil {
		return &OptionError{Field: "Telemetry", Problem: err.Error(), Err: err}
	}
	source, documents, err := m.sources()
	if err != nil {
		return err
	}
	if err = m.openIdentity(); err != nil {
		return err
	}
	if err = m.openSecurity(); err != nil {
		return err
	}
	m.policies = newPolicies(m.o, documents, m.tel, m.log)
	permit, err := m.openOutlook()
	if err != nil {
		return err
	}
	m.directory = upstream.NewDirectory(upstream.Options{
		Source: source, Telemetry: m.tel, Logger: m.log,
		Follow: m.policies.follow, Forget: m.policies.forget, Provisional: m.policies.of, Caller: m.caller(),
		Place: m.place, Seat: m.seat(), Permit: permit,
	})
	m.onClose(func(context.Context) error { m.directory.Close(); return nil })
	if err = m.locate(); err != nil {
		return err
	}
	m.policies.start()
	m.onClose(func(context.Context) error { m.policies.close(); return nil })
	unobserve, err := m.tel.ObserveState(m.stand)
	if err != nil {
		return &OptionError{Field: "Telemetry", Problem: err.Error(), Err: err}
	}
	m.onClose(func(context.Context) error { return unobserve() })
	uncount, err := m.tel.ObserveGuarded(m.guards.count)
	if err != nil {
		return &OptionError{Field: "Telemetry", Problem: err.Error(), Err: err}
	}
	m.onClose(func(context.Context) error { return uncount() })
	if err = m.openServer(); err != nil {
		return err
	}
	m.dialling = grpcadapter.DialOptions(grpcadapter.Options{Directory: m.directory, TLS: m.secure(), Letters: m.o.DeadLetters})
	if err = m.serveAdmin(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

// HTTPClient returns a client whose requests to services of the mesh, such as
// http://inventory/items/42, are discovered, balanced, retried, guarded and
// secured. Requests to other hosts are passed on as they are.
func (m *Mesh) HTTPClient() *http.Client {
	return &http.Client{Transport: m.Transport(nil)}
}

// Transport returns the mesh as a round tripper, for clients of one's own. base
// carries requests to other hosts; an *http.Transport also lends its settings to
// the connections to instances. Any other base is given the attempts to send,
// with the instance's address in the URL, and can not be secured: requests fail
// if [TLSOptions] are set. Nil means the settings of [http.DefaultTransport].
//
// Call it once, not per request: each one has connections of its own.
func (m *Mesh) Transport(base http.RoundTripper) http.RoundTripper {
	t := httpadapter.New(httpadapter.Options{
		Directory: m.directory, Base: base, TLS: m.secure(), RefuseOutside: m.o.HTTP.RefuseOutside,
	})
	m.onClose(func(context.Context) error { t.Close(); return nil })
	if m.o.DeadLetters != nil {
		return m.o.DeadLetters.Transport(t)
	}
	return t
}

// GRPCClient returns a connection to a service; any generated stub works on it.
// It is closed with the mesh, or before by the caller.
func (m *Mesh) GRPCClient(service string, extra ...grpc.DialOption) (*grpc.ClientConn, error) {
	if !validName(service) {
		return nil, &OptionError{Field: "service", Problem: "is \"" + service + "\": want lower-case letters, digits, - and _, 63 at most"}
	}
	conn, err := grpc.NewClient(grpcadapter.Target(service), append(m.DialOptions(), extra...)...)
	if err != nil {
		return nil, err
	}
	m.onClose(func(context.Context) error { return ignoreClosed(conn.Close()) })
	return conn, nil
}

// DialOptions make a connection of one's own go through the mesh:
//
//	grpc.NewClient("mesh:///payments", m.DialOptions()...)
//
// Options that come after them may replace them; do not replace the transport
// credentials or the resolver.
func (m *Mesh) DialOptions() []grpc.DialOption {
	return append([]grpc.DialOption(nil), m.dialling...)
}

// Ready waits until discovery has answered about each of the services, or about
// this program's own if none is named. The error says why it has not, when ctx
// ends first, or that a service is unknown or has no healthy instance.
func (m *Mesh) Ready(ctx context.Context, services ...string) error {
	own := len(services) == 0
	if own {
		services = []string{m.o.Service}
	}
	var faults []error
	for _, service := range services {
		err := m.ready(ctx, service, own)
		if err != nil {
			faults = append(faults, &call.Error{Service: service, Method: "ready", Reason: call.Rejected, Err: err})
		}
	}
	return errors.Join(faults...)
}

func (m *Mesh) ready(ctx context.Context, service string, own bool) error {
	u, err := m.directory.Get(service)
	if err != nil {
		return err
	}
	plan, err := u.Ready(ctx)
	if err != nil {
		return err
	}
	for _, r := range plan.Routes {
		for _, d := range r.Destinations {
			if err := d.Ready(ctx); err != nil {
				return err
			}
			if own { // of ourselves we only want to know that discovery answers
				continue
			}
			if err := d.Error(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close leaves the mesh: registrations are withdrawn, connections closed and
// goroutines ended. Calls that come later fail with [ErrClosed]; answers that are
// being read may be read on. ctx bounds what has to ask others, the withdrawal.
// A second Close does nothing.
func (m *Mesh) Close(ctx context.Context) error {
	m.mu.Lock()
	closing := m.closing
	m.closing, m.isClosed = nil, true
	m.mu.Unlock()
	var faults []error
	for _, undo := range slices.Backward(closing) {
		faults = append(faults, undo(ctx))
	}
	return errors.Join(faults...)
}

// onClose has f called by Close, in reverse order, or at once if that is past.
func (m *Mesh) onClose(f func(context.Context) error) {
	m.mu.Lock()
	late := m.isClosed
	if !late {
		m.closing = append(m.closing, f)
	}
	m.mu.Unlock()
	if late {
		_ = f(context.Background()) // there is nobody left to tell
	}
}

func (m *Mesh) closed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.isClosed
}

// caller tells this copy of the program from those on other machines.
func (m *Mesh) caller() string {
	host, err := os.Hostname()
	if err != nil { // then all copies look alike, and go the same way
		return m.o.Service
	}
	return m.o.Service + "@" + host
}

// ignoreClosed forgives a connection that the user has closed before.
func ignoreClosed(err error) error {
	if status.Code(err) == codes.Canceled {
		return nil
	}
	return err
}
