package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/innermesh/innermesh/discovery"
)

// Registration is how this program announces itself. Port is required.
type Registration struct {
	// Service is the name to register. Default: [Options].Service.
	Service string
	// ID tells this copy from its siblings. Default: service, host name and port.
	ID string
	// Address is the host others dial. Default: the address of this machine's
	// way out, else loopback.
	Address string
	// Port is where it listens. Required.
	Port int
	// Weight is its share against its siblings. Default: 1.
	Weight int
	// Tags and Meta are told to others.
	Tags []string
	Meta map[string]string
	// TTL is how long it counts as alive without a sign of life, which is given
	// three times as often. Default: 15 s.
	TTL time.Duration
	// DeregisterAfter is when an instance that died without a word is forgotten.
	// Default: 10 min, and at least Consul's 1 min.
	DeregisterAfter time.Duration
	// CheckHTTP (a URL) or CheckGRPC ("host:port") let the registry probe the
	// instance every CheckInterval (default 5 s) instead of waiting for its signs
	// of life.
	CheckHTTP, CheckGRPC string
	CheckInterval        time.Duration
}

// ErrNoRegistrar is returned by Register when there is nowhere to register.
var ErrNoRegistrar = errors.New("nowhere to register: set Options.Registrar, or leave Options.Discovery to Consul")

// Register announces an instance of this program and keeps it announced, however
// often the registry forgets, until the mesh is closed or the result's
// Deregister is called. It returns when the instance is registered for the first
// time, or when ctx ends before.
func (m *Mesh) Register(ctx context.Context, r Registration) (discovery.Registered, error) {
	if m.registrar == nil {
		return nil, ErrNoRegistrar
	}
	if r.Port < 1 || r.Port > 65535 {
		return nil, &OptionError{Field: "Registration.Port", Problem: fmt.Sprintf("is %d: want 1 to 65535", r.Port)}
	}
	service := cmp.Or(r.Service, m.o.Service)
	registered, err := m.registrar.Register(ctx, discovery.Registration{
		Service: service,
		Instance: discovery.Instance{
			ID:      cmp.Or(r.ID, defaultID(service, r.Port)),
			Address: net.JoinHostPort(cmp.Or(r.Address, ownAddress()), strconv.Itoa(r.Port)),
			Weight:  r.Weight, Tags: r.Tags, Meta: r.Meta,
		},
		TTL: r.TTL, DeregisterAfter: r.DeregisterAfter,
		CheckHTTP: r.CheckHTTP, CheckGRPC: r.CheckGRPC, CheckInterval: r.CheckInterval,
	})
	if err != nil {
		return nil, fmt.Errorf("innermesh: %w", err)
	}
	m.onClose(registered.Deregister)
	return registered, nil
}

func defaultID(service string, port int) string {
	host, err := os.Hostname()
	if err != nil {
		host = strconv.Itoa(os.Getpid())
	}
	return fmt.Sprintf("%s-%s-%d", service, host, port)
}

// ownAddress is the first address of this machine that others can dial.
func ownAddress() string {
	addrs, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				return n.IP.String()
			}
		}
	}
	return "127.0.0.1"
}
