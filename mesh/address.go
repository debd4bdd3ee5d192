package mesh

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// candidate is an address of this machine.
type candidate struct {
	name string // of its interface
	addr netip.Addr
}

// ownAddress is the address of this machine that others are told to dial.
func (m *Mesh) ownAddress() string {
	var way netip.Addr
	if m.consul != nil {
		way = wayTo(m.consul.Address())
	}
	return choose(candidates(), way)
}

// choose takes the address that the way to Consul begins at, if others can dial
// it, else the first that they can, IPv4 before IPv6. The order is that of the
// interfaces.
func choose(all []candidate, way netip.Addr) string {
	all = slices.DeleteFunc(slices.Clone(all), func(c candidate) bool {
		a := c.addr
		return bridge(c.name) || !a.IsGlobalUnicast() // without loopback, link-local and multicast
	})
	if len(all) == 0 {
		return "127.0.0.1"
	}
	for _, c := range all {
		if c.addr == way {
			return way.String()
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Compare(a.addr.BitLen(), b.addr.BitLen())
	})
	return all[0].addr.String()
}

// candidates are the addresses of interfaces that are up.
func candidates() (all []candidate) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil || i.Flags&net.FlagUp == 0 {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if addr, ok := netip.AddrFromSlice(n.IP); ok {
					all = append(all, candidate{i.Name, addr.Unmap()})
				}
			}
		}
	}
	return all
}

// bridge says whether an interface leads to containers or virtual machines on
// this machine and nowhere else, by the names that their engines give.
func bridge(name string) bool {
	return slices.ContainsFunc([]string{
		"docker", "br-", "veth", "virbr", "cni", "flannel", "cali", "cilium", "kube-", "podman", "lxc", "lxd", "nerdctl",
	}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// wayTo is the address of this machine from which agent, "host:port" or a URL, is
// reached: zero if that says nothing. Nothing is sent for it.
func wayTo(agent string) netip.Addr {
	if u, err := url.Parse(agent); err == nil && u.Host != "" {
		agent = u.Host
	}
	host, _, err := net.SplitHostPort(agent)
	if err != nil {
		host = agent
	}
	// A name is not looked up: who starts must not wait for DNS.
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil || ip.IsLoopback() {
		return netip.Addr{}
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 9)))
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}
