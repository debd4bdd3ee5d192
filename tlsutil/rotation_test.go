package tlsutil

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// One listener, one client, new leaves all the time: no call may fail, be its
// connection new, resumed or kept.
func TestRotationUnderLiveListener(t *testing.T) {
	ca := newCA(t, "")
	client, server := source(t, ca, "web"), source(t, ca, "inventory")
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := PeerID(*r.TLS)
		if err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, id.Path())
	}))
	ln := tls.NewListener(srv.Listener, ServerConfig(server, AuthorizeService("web"), Options{}))
	srv.Listener = ln
	srv.Start()
	defer srv.Close()

	fresh := ClientConfig(client, AuthorizeService("inventory"), Options{Sessions: -1})
	resuming := ClientConfig(client, AuthorizeService("inventory"), Options{})
	kept := &http.Transport{
		TLSClientConfig:   resuming.Clone(),
		ForceAttemptHTTP2: true,
	}
	defer kept.CloseIdleConnections()
	var serials sync.Map
	get := func(transport *http.Transport) {
		resp, err := (&http.Client{Transport: transport}).Get("https://" + ln.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != "/ns/default/dc/dc1/svc/web" {
			t.Errorf("got %q, %v", body, err)
		}
		serials.Store(resp.TLS.PeerCertificates[0].SerialNumber.String(), true)
	}
	for range 20 {
		if err := errors.Join(client.Rotate(), server.Rotate()); err != nil {
			t.Fatal(err)
		}
		var calls sync.WaitGroup
		calls.Go(func() { get(kept) })
		for _, cfg := range []*tls.Config{fresh, resuming} {
			calls.Go(func() {
				get(&http.Transport{TLSClientConfig: cfg.Clone(), ForceAttemptHTTP2: true, DisableKeepAlives: true})
			})
		}
		calls.Wait()
	}
	seen := 0
	serials.Range(func(any, any) bool { seen++; return true })
	if seen < 20 {
		t.Errorf("%d leaves of the server were seen, want one a turn", seen)
	}
}

// A new leaf is on the wire at the next full handshake of the same configs.
func TestRotationIsSeen(t *testing.T) {
	ca := newCA(t, "")
	client, server := source(t, ca, "web"), source(t, ca, "inventory")
	clientTLS := ClientConfig(client, AuthorizeAny(), Options{Sessions: -1})
	serverTLS := ServerConfig(server, AuthorizeAny(), Options{})
	for range 3 {
		r := shake(clientTLS, serverTLS).ok(t)
		wantClient, err1 := client.Identity()
		wantServer, err2 := server.Identity()
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if !r.server.PeerCertificates[0].Equal(wantClient.Certificate().Leaf) || !r.client.PeerCertificates[0].Equal(wantServer.Certificate().Leaf) {
			t.Error("an old leaf was shown")
		}
		if err := errors.Join(client.Rotate(), server.Rotate()); err != nil {
			t.Fatal(err)
		}
	}
}

// Many connections while sources and roots change: for the race detector.
func TestConfigsRace(t *testing.T) {
	p := newPair(t, AuthorizeAny(), AuthorizeAny())
	both := rootsOf(t, p.ca, p.next)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 15 {
				shake(p.clientTLS, p.serverTLS).ok(t)
			}
		})
	}
	all.Go(func() {
		for i := range 30 {
			roots := []*Roots{p.ca.Roots(), both}[i%2]
			p.client.store(identity(t, p.ca, "web", roots))
			p.server.store(identity(t, p.ca, "inventory", roots))
		}
	})
	all.Wait()
}
