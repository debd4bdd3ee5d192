package mesh

import (
	"net/netip"
	"testing"
)

func TestChooseAddress(t *testing.T) {
	at := func(name, addr string) candidate { return candidate{name, netip.MustParseAddr(addr)} }
	lo, link, docker := at("lo", "127.0.0.1"), at("eth0", "169.254.1.2"), at("docker0", "172.17.0.1")
	six, four, other := at("eth0", "2001:db8::1"), at("eth0", "10.0.0.5"), at("eth1", "192.168.1.5")
	for _, c := range []struct {
		name string
		all  []candidate
		way  string
		want string
	}{
		{"nothing", nil, "", "127.0.0.1"},
		{"only what others can not dial", []candidate{lo, link, docker, at("lo", "::1"), at("eth0", "fe80::1")}, "", "127.0.0.1"},
		{"the first", []candidate{lo, docker, four, other}, "", "10.0.0.5"},
		{"the way to Consul", []candidate{lo, four, other}, "192.168.1.5", "192.168.1.5"},
		{"the way to Consul over IPv6", []candidate{four, six}, "2001:db8::1", "2001:db8::1"},
		{"a way through a bridge", []candidate{docker, four}, "172.17.0.1", "10.0.0.5"},
		{"a way by loopback", []candidate{lo, four}, "127.0.0.1", "10.0.0.5"},
		{"IPv4 before IPv6", []candidate{six, four}, "", "10.0.0.5"},
		{"IPv6 alone", []candidate{lo, six}, "", "2001:db8::1"},
		{"a bridge of compose", []candidate{at("br-1f2e", "172.18.0.1"), at("vethab", "172.18.0.9"), other}, "", "192.168.1.5"},
	} {
		var way netip.Addr
		if c.way != "" {
			way = netip.MustParseAddr(c.way)
		}
		if got := choose(c.all, way); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestWayTo(t *testing.T) {
	for _, agent := range []string{"", "127.0.0.1:8500", "http://[::1]:8500", "consul.example:8500", "unix:///run/consul.sock", "a b"} {
		if way := wayTo(agent); way.IsValid() {
			t.Errorf("%q: %v", agent, way)
		}
	}
	// What leads elsewhere begins at an address of ours, if there is a way at all.
	if way := wayTo("https://192.0.2.1:8501"); way.IsValid() {
		found := false
		for _, c := range candidates() {
			found = found || c.addr == way
		}
		if !found {
			t.Errorf("%v is none of %v", way, candidates())
		}
	}
}
