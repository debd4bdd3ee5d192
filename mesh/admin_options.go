package mesh

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// AdminOptions concern the live page, see [Mesh.AdminHandler].
type AdminOptions struct {
	// Addr has the page served by a listener of its own, such as "127.0.0.1:9292";
	// port 0 is any that is free, see [Mesh.AdminAddr]. It must be of the loopback,
	// unless Remote is true. Default: none; the program mounts the handler itself.
	Addr string
	// Remote lets Addr be of any network. The page has no password: whoever can
	// reach it can read it, and with Actions do more. Default: false.
	Remote bool
	// Hosts are names by which the own listener may be asked besides its address
	// and localhost; requests for others are refused, for a page elsewhere may give
	// its own name this machine's address. Default: none.
	Hosts []string
	// Actions lets the page do what it otherwise only shows: put an instance back
	// into rotation, and, where this program is registered, take it into maintenance
	// or have it drained. Default: false, it is read-only.
	Actions bool
	// Prometheus is the address of a Prometheus that scrapes the mesh, such as
	// "http://prometheus:9090": then the page knows who calls whom in all of it. A
	// user and password in it are used and never shown. Default: none.
	Prometheus string
}

// validate tells each fault with its field.
func (o AdminOptions) validate(fault func(field, format string, args ...any)) {
	if o.Addr != "" {
		host, _, err := net.SplitHostPort(o.Addr)
		switch {
		case err != nil:
			fault("Admin.Addr", "is %q: want host:port, such as 127.0.0.1:9292", o.Addr)
		case !o.Remote && !isLoopback(host):
			fault("Admin.Addr", "is %q, which others can reach: use 127.0.0.1, or set Admin.Remote", o.Addr)
		}
	}
	if o.Prometheus != "" {
		u, err := url.Parse(o.Prometheus)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			fault("Admin.Prometheus", "is no address: want one such as http://prometheus:9090") // it may have a password in it
		}
	}
}

// isLoopback says whether a host is this machine alone.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// admits says whether the own listener may be asked by the name in a request.
func (o AdminOptions) admits(asked string) bool {
	name := asked
	if host, _, err := net.SplitHostPort(asked); err == nil {
		name = host
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if isLoopback(name) {
		return true
	}
	if host, _, err := net.SplitHostPort(o.Addr); err == nil && host != "" && strings.EqualFold(name, host) {
		return true
	}
	// An address can not be given to a name by somebody else.
	if _, err := netip.ParseAddr(name); err == nil && o.Remote {
		return true
	}
	return slices.ContainsFunc(o.Hosts, func(h string) bool { return strings.EqualFold(h, name) })
}

// String leaves out what may have a password in it.
func (o AdminOptions) String() string {
	return fmt.Sprintf("{Addr:%s Remote:%t Actions:%t}", o.Addr, o.Remote, o.Actions)
}
