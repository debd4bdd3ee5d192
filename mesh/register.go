package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/innermesh/innermesh/discovery"
)

// Registration is how this program announces itself. Port is required.
type Registration struct {
	// Service is the name to register. With [TLSOptions].Consul it is that of the
	// program's identity, or callers refuse it. Default: [Options].Service.
	Service string
	// ID tells this copy from its siblings. Default: service, host name and port.
	ID string
	// Address is the host others dial. Default: the address of this machine that
	// the way to Consul begins at, else the first that is neither of the machine
	// itself nor of a bridge to its containers, IPv4 before IPv6, else loopback.
	Address string
	// Port is where it listens. Required.
	Port int
	// Ports are further ports, each registered as a service of its own, "orders-grpc"
	// for the port grpc of orders, with the same ID followed by the port's name. With
	// [TLSOptions].Consul there can be none: callers expect the identity of the name
	// that they call. A mesh of its own, of that name, can serve the port. Default:
	// none.
	Ports []Port
	// TaggedAddresses are further addresses by their names, each "host:port": "wan"
	// is dialled from other datacenters. Default: none.
	TaggedAddresses map[string]string
	// Weight is its share against its siblings. Default: 1.
	Weight int
	// WarningWeight is its share while something informational fails (see
	// [Mesh.Health]), so Weight should leave room below, such as 10. Default: half
	// of Weight, and at least 1.
	WarningWeight int
	// Tags and Meta are told to others. Default: none.
	Tags []string
	Meta map[string]string
	// Version is told as the key version of Meta, by which subsets are made.
	// Default: none.
	Version string
	// Native says that the port speaks mTLS with an identity of Consul's CA, so that
	// sidecars may call it. Default: false, but with [TLSOptions].Consul it is always
	// said.
	Native bool
	// TTL is how long it counts as alive without a sign of life, which is given
	// three times as often. Default: 15 s.
	TTL time.Duration
	// DeregisterAfter is when an instance that died without a word is forgotten.
	// Default: 10 min, and at least Consul's 1 min.
	DeregisterAfter time.Duration
	// CheckHTTP (a URL) or CheckGRPC ("host:port") let the registry probe the
	// instance every CheckInterval (default 5 s) instead of waiting for its signs
	// of life. Then it knows of [Mesh.Health] what the probe tells.
	CheckHTTP, CheckGRPC string
	CheckInterval        time.Duration
	// NotReady leaves it to the program to say that it has started, by
	// Health().Ready(). Until then it is registered as critical: everybody sees it
	// start, and nobody calls it. Where it starts for longer than DeregisterAfter
	// Consul's agent removes it, as any that is critical for so long, and it is put
	// back. Default: false, who registers has started.
	NotReady bool
}

// Port is a further port of a [Registration].
type Port struct {
	// Name follows the name of the service and a dash, as in "orders-grpc". Required.
	Name string
	// Port is where it listens. Required.
	Port int
	// CheckHTTP and CheckGRPC are as those of the registration. Default: none.
	CheckHTTP, CheckGRPC string
}

// Validate names every field that is wrong.
func (r Registration) Validate() error {
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, &OptionError{Field: "Registration." + field, Problem: fmt.Sprintf(format, args...)})
	}
	if r.Port < 1 || r.Port > 65535 {
		fault("Port", "is %d: want 1 to 65535", r.Port)
	}
	seen := map[string]bool{}
	for i, p := range r.Ports {
		field := fmt.Sprintf("Ports[%d].", i)
		if !validName(p.Name) {
			fault(field+"Name", "is %q: want lower-case letters, digits, - and _, 63 at most", p.Name)
		}
		if seen[p.Name] {
			fault(field+"Name", "is %q, as that of another port", p.Name)
		}
		seen[p.Name] = true
		if p.Port < 1 || p.Port > 65535 {
			fault(field+"Port", "is %d: want 1 to 65535", p.Port)
		}
	}
	if ip := net.ParseIP(r.Address); ip != nil && ip.IsUnspecified() {
		fault("Address", "is %s, which nobody can dial: leave it out, or name one of this machine's addresses", r.Address)
	}
	if v, ok := r.Meta["version"]; ok && r.Version != "" && r.Version != v {
		fault("Version", "is %q and Meta says %q: choose one", r.Version, v)
	}
	return errors.Join(faults...)
}

// ErrNoRegistrar is returned by Register when there is nowhere to register.
var ErrNoRegistrar = errors.New("nowhere to register: set Options.Registrar, or leave Options.Discovery to Consul")

// Register announces an instance of this program and keeps it announced, however
// often the registry forgets, until the mesh is closed or the result's
// Deregister is called. It returns when the instance is registered for the first
// time, or when ctx ends before.
func (m *Mesh) Register(ctx context.Context, r Registration) (*Registered, error) {
	if err := errors.Join(r.Validate(), m.oneName(r)); err != nil {
		return nil, err
	}
	if m.registrar == nil {
		return nil, ErrNoRegistrar
	}
	if !r.NotReady {
		m.health.Ready()
	}
	registered := &Registered{health: m.health}
	for _, one := range m.registrations(r) {
		part, err := m.registrar.Register(ctx, one)
		if err != nil {
			err = fmt.Errorf("innermesh: %w", err)
			return nil, errors.Join(err, registered.Deregister(context.WithoutCancel(ctx)))
		}
		registered.parts = append(registered.parts, part)
	}
	m.onClose(registered.Deregister)
	m.live.register(registered)
	return registered, nil
}

// registrations are what a registration becomes: one for each port.
func (m *Mesh) registrations(r Registration) []discovery.Registration {
	service := cmp.Or(r.Service, m.o.Service)
	host := cmp.Or(r.Address, m.ownAddress())
	meta := maps.Clone(r.Meta)
	if r.Version != "" {
		if meta == nil {
			meta = map[string]string{}
		}
		meta["version"] = r.Version
	}
	main := discovery.Registration{
		Service: service,
		Instance: discovery.Instance{
			ID:      cmp.Or(r.ID, defaultID(service, r.Port)),
			Address: net.JoinHostPort(host, strconv.Itoa(r.Port)),
			Weight:  r.Weight, Tags: slices.Clone(r.Tags), Meta: meta,
			Region: m.o.Region, Zone: m.o.Zone,
		},
		WarningWeight: r.WarningWeight, TaggedAddresses: maps.Clone(r.TaggedAddresses), MeshNative: r.Native || m.native(),
		TTL: r.TTL, DeregisterAfter: r.DeregisterAfter,
		CheckHTTP: r.CheckHTTP, CheckGRPC: r.CheckGRPC, CheckInterval: r.CheckInterval,
		Reporter: m.health, Maintained: m.maintained("maintenance"),
	}
	all := []discovery.Registration{main}
	for _, p := range r.Ports {
		one := main
		one.Service += "-" + p.Name
		one.Instance.ID += "-" + p.Name
		one.Instance.Address = net.JoinHostPort(host, strconv.Itoa(p.Port))
		one.TaggedAddresses, one.CheckHTTP, one.CheckGRPC = nil, p.CheckHTTP, p.CheckGRPC
		one.Maintained = m.maintained("maintenance of " + p.Name)
		all = append(all, one)
	}
	return all
}

// maintained has the program not be ready while the registry holds it.
func (m *Mesh) maintained(name string) func(reason string) {
	return func(reason string) {
		if reason == "" {
			m.health.Release(name)
		} else {
			m.health.Hold(name, reason)
		}
	}
}

func defaultID(service string, port int) string {
	host, err := os.Hostname()
	if err != nil {
		host = strconv.Itoa(os.Getpid())
	}
	return fmt.Sprintf("%s-%s-%d", service, host, port)
}
