package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/innermesh/innermesh/internal/consul"
)

// announce registers what is served, and tries again what may be mended: rights
// reach agents late, and tokens are replaced.
func (p *presence) announce(ctx context.Context) {
	r := p.registration()
	for told := false; ; told = true {
		registered, err := p.m.Register(ctx, r)
		switch {
		case err == nil:
			p.registered.Store(registered)
			if p.o.Announced != nil {
				p.o.Announced(registered)
			}
			return
		case ctx.Err() != nil:
			return
		case !errors.Is(err, consul.ErrPermission):
			p.fail(err)
			return
		case !told:
			p.m.log.Warn("the registry refuses this program, which is tried again every 30 s", "error", err)
		}
		if !pause(ctx, 30*time.Second) {
			return
		}
	}
}

// registration is the one of the options with what has become known by listening.
func (p *presence) registration() Registration {
	r := p.o.Registration
	host, port := hostPort(p.listening.Addr)
	r.Port = port
	if r.Address == "" && !net.ParseIP(host).IsUnspecified() {
		r.Address = host
	}
	if p.listening.GRPC != nil {
		_, number := hostPort(p.listening.GRPC)
		r.Ports = []Port{{Name: "grpc", Port: number}}
	}
	if p.o.Probe {
		p.probe(&r)
	}
	return r
}

// probe says where the agent finds out how the program is.
func (p *presence) probe(r *Registration) {
	// The agent of this program runs on the same machine.
	local := func(addr net.Addr) string {
		host, port := hostPort(addr)
		if net.ParseIP(host).IsUnspecified() {
			host = "127.0.0.1"
		}
		return net.JoinHostPort(host, strconv.Itoa(port))
	}
	url := func(addr net.Addr) string { return fmt.Sprintf("http://%s/readyz?warning=429", local(addr)) }
	switch {
	case p.listening.Health != nil:
		r.CheckHTTP = url(p.listening.Health)
	case p.web != nil:
		r.CheckHTTP = url(p.listening.Addr)
	default:
		r.CheckGRPC = local(p.listening.Addr)
	}
	for i := range r.Ports {
		r.Ports[i].CheckHTTP, r.Ports[i].CheckGRPC = r.CheckHTTP, r.CheckGRPC
	}
}

func hostPort(addr net.Addr) (host string, port int) {
	at, ok := addr.(*net.TCPAddr)
	if !ok {
		return "", 0
	}
	return at.IP.String(), at.Port
}
