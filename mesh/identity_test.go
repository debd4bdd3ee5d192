package mesh_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/tlsutil"
)

// identified is a program with an identity from Consul's CA.
func identified(t *testing.T, agent *consultest.Agent, service string, o mesh.Options) *mesh.Mesh {
	t.Helper()
	o.Service, o.Logger = service, slog.New(slog.DiscardHandler)
	o.TLS.Consul = true
	o.Consul.Address = agent.HTTPAddr
	m, err := mesh.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// serverTLS is how a program of the mesh listens for one caller.
func serverTLS(t *testing.T, m *mesh.Mesh, caller string) *tls.Config {
	t.Helper()
	if _, err := tlsutil.Ready(t.Context(), m.Certificates()); err != nil {
		t.Fatal(err)
	}
	return tlsutil.ServerConfig(m.Certificates(), tlsutil.AuthorizeService(caller), tlsutil.Options{})
}

// listenTLS serves HTTP for one caller, and tells who has called.
func listenTLS(t *testing.T, m *mesh.Mesh, caller string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		TLSConfig:         serverTLS(t, m, caller),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id, err := tlsutil.PeerID(*r.TLS)
			if err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, r.Proto+" "+id.Path())
		}),
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

// Two programs call each other, each with nothing but an agent: instances,
// certificates and trust are Consul's.
func TestConsulIdentities(t *testing.T) {
	agent := consultest.Shared(t)
	shop, stock := consultest.Name(t, "shop"), consultest.Name(t, "stock")
	at := map[string]*mesh.Mesh{}
	for service, protocol := range map[string]string{shop: policy.HTTP1, stock: policy.HTTP2} {
		at[service] = identified(t, agent, service, mesh.Options{Defaults: policy.Service{HTTP: policy.HTTP{Protocol: protocol}}})
	}
	for from, to := range map[string]string{shop: stock, stock: shop} {
		registered(t, at[to], mesh.Registration{ID: to + "-http"}, listenTLS(t, at[to], from))
	}
	for from, want := range map[string]string{shop: "200 HTTP/1.1 ", stock: "200 HTTP/2.0 "} {
		to := stock
		if from == stock {
			to = shop
		}
		client := at[from].HTTPClient()
		eventually(t, 10*time.Second, from+" calls "+to, func() bool {
			body, err := bodyOf(client, "http://"+to+"/")
			if err == nil && body != want+"/ns/default/dc/dc1/svc/"+from {
				t.Fatalf("got %q", body)
			}
			return err == nil
		})
		client.CloseIdleConnections()
	}
}

// The first call waits for the identity; the server is known by its whole name.
func TestConsulIdentitiesGRPC(t *testing.T) {
	agent := consultest.Shared(t)
	payments, shop := &payments{}, consultest.Name(t, "shop")
	server := identified(t, agent, "payments", mesh.Options{Discovery: discovery.Static{}})
	addr, _ := payments.start(t, grpc.Creds(credentials.NewTLS(serverTLS(t, server, shop))))
	client := dialled(t, identified(t, agent, shop, mesh.Options{Discovery: addresses{"payments": {addr}}}))
	var seen peer.Peer
	if _, err := client.UnaryCall(limited(t), &grpc_testing.SimpleRequest{}, grpc.Peer(&seen)); err != nil {
		t.Fatal(err)
	}
	info, _ := seen.AuthInfo.(credentials.TLSInfo)
	id, err := tlsutil.PeerID(info.State)
	if err != nil || !strings.HasSuffix(id.String(), ".consul/ns/default/dc/dc1/svc/payments") {
		t.Errorf("peer %v, %v", id, err)
	}
}

// A server of another name, and the right one where it is not expected.
func TestConsulIdentitiesAreExact(t *testing.T) {
	agent := consultest.Shared(t)
	shop := consultest.Name(t, "shop")
	stock := identified(t, agent, "stock", mesh.Options{Discovery: discovery.Static{}})
	addr := listenTLS(t, stock, shop)
	for service, datacenter := range map[string]string{"web": "", "stock": "dc2"} {
		client := identified(t, agent, shop, mesh.Options{
			Discovery: addresses{service: {addr}}, Consul: mesh.ConsulOptions{Datacenter: datacenter},
			Defaults: policy.Service{Retry: policy.Retry{Attempts: 1}},
		}).HTTPClient()
		_, err := bodyOf(client, "http://"+service+"/")
		e, ok := errors.AsType[*tlsutil.PeerError](err)
		if !ok || !errors.Is(err, tlsutil.ErrDenied) || !strings.HasSuffix(e.Peer.Path(), "/svc/stock") ||
			!strings.HasSuffix(e.Expected, "/dc/"+cmp.Or(datacenter, "dc1")+"/svc/"+service) {
			t.Errorf("%s: got %v, want the peer denied", service, err)
		}
	}
}

// Nobody waits for a permission.
func TestConsulIdentityRefused(t *testing.T) {
	const config = `acl { enabled = true default_policy = "deny" tokens { initial_management = "root" } }`
	agent := consultest.Start(t, consultest.Options{Config: config, Token: "root"})
	m := identified(t, agent, "shop", mesh.Options{Discovery: addresses{"web": {web(t, ok)}}})
	eventually(t, 10*time.Second, "the call says what is missing", func() bool {
		_, err := bodyOf(m.HTTPClient(), "http://web/")
		return err != nil && strings.Contains(err.Error(), "service:write")
	})
}

func TestTLSOptions(t *testing.T) {
	_, err := mesh.New(t.Context(), mesh.Options{
		Service: "shop", Discovery: discovery.Static{}, TLS: mesh.TLSOptions{Consul: true, Source: identity(t, devCA(t), "shop")},
	})
	if e, ok := errors.AsType[*mesh.OptionError](err); !ok || e.Field != "TLS" {
		t.Errorf("two sources: %v", err)
	}
	m := newMesh(t, mesh.Options{Discovery: discovery.Static{}})
	if s := m.Certificates(); s != nil {
		t.Errorf("plain text with %v", s)
	}
}
