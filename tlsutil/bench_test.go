package tlsutil

import (
	"crypto/tls"
	"testing"
)

// Both ends of one connection in memory, a byte each way, against crypto/tls
// with the same certificates and its own verification by host name and pool.
func BenchmarkHandshake(b *testing.B) {
	ca := newCA(b, "")
	client, server := source(b, ca, "web"), source(b, ca, "inventory")
	rawCert := func(src Source, name string) tls.Certificate {
		id, err := src.Identity()
		if err != nil {
			b.Fatal(err)
		}
		template := ca.leaf(id.ID(), id.cert.Leaf.NotBefore)
		template.DNSNames = []string{name}
		cert, err := ca.issue(template)
		if err != nil {
			b.Fatal(err)
		}
		return cert
	}
	pool := ca.Roots().Pool("dev.internal")
	rawClient, rawServer := rawCert(client, "web"), rawCert(server, "inventory")
	for _, mode := range []struct {
		name     string
		sessions int
	}{{"full", -1}, {"resumed", 64}} {
		ours := [2]*tls.Config{
			ClientConfig(client, AuthorizeService("inventory"), Options{Sessions: mode.sessions}),
			ServerConfig(server, AuthorizeService("web"), Options{Sessions: mode.sessions}),
		}
		ours[0].ServerName = "inventory"
		raw := [2]*tls.Config{
			{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{rawClient}, RootCAs: pool, ServerName: "inventory", SessionTicketsDisabled: mode.sessions < 0},
			{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{rawServer}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, SessionTicketsDisabled: mode.sessions < 0},
		}
		if mode.sessions > 0 {
			raw[0].ClientSessionCache = tls.NewLRUClientSessionCache(mode.sessions)
		}
		for _, side := range []struct {
			name    string
			configs [2]*tls.Config
		}{{"raw", raw}, {"ours", ours}} {
			b.Run(mode.name+"/"+side.name, func(b *testing.B) {
				b.ReportAllocs()
				shake(side.configs[0], side.configs[1]).ok(b)
				for b.Loop() {
					r := shake(side.configs[0], side.configs[1]).ok(b)
					if r.client.DidResume != (mode.sessions > 0) {
						b.Fatalf("resumed: %v", r.client.DidResume)
					}
				}
			})
		}
	}
}

func BenchmarkParseID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseID("spiffe://dev.internal/ns/default/dc/dc1/svc/web"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIdentity(b *testing.B) {
	src := source(b, newCA(b, ""), "web")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := src.Identity(); err != nil {
			b.Fatal(err)
		}
	}
}
