package interop

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/tlsutil"
)

// sidecar puts Consul's built-in proxy before a server.
func sidecar(t *testing.T, agent *consultest.Agent, service string, port int) {
	t.Helper()
	client, err := agent.Client()
	if err != nil {
		t.Fatal(err)
	}
	err = client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: service + "-1", Name: service, Port: port, Address: "127.0.0.1",
		Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
			Port: freePort(t), Address: "127.0.0.1", Checks: api.AgentServiceChecks{{TTL: "30m", Status: "passing"}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	proxy(t, agent, "-sidecar-for", service+"-1")
}

// Our client calls a server that knows nothing of the mesh, through the proxy before
// it. The proxy negotiates no protocol.
func TestOurClientTheirProxy(t *testing.T) {
	agent := consultest.Shared(t)
	web, rpc := consultest.Name(t, "web"), consultest.Name(t, "rpc")
	sidecar(t, agent, web, served(t, plainListener(t), http.HandlerFunc(whoCalls), nil))
	sidecar(t, agent, rpc, servedGRPC(t, plainListener(t)))
	shop := member(t, agent, consultest.Name(t, "shop"), mesh.Options{})
	eventually(t, "HTTP", func() error {
		got, err := get(t, shop.HTTPClient(), "http://"+web+"/x")
		if err == nil && got != "200 HTTP/1.1 /x nobody" {
			t.Fatalf("got %q", got)
		}
		return err
	})
	conn, err := shop.GRPCClient(rpc)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "gRPC", func() error {
		got, err := unary(t, conn)
		if err == nil && got != "nobody" {
			t.Fatalf("got %q", got)
		}
		return err
	})
}

// A policy that says HTTP/2 holds with a proxy that negotiates nothing. A server
// behind it that has no HTTP/2 is found out before a request is sent.
func TestOurClientTheirProxyHTTP2(t *testing.T) {
	agent := consultest.Shared(t)
	web, old := consultest.Name(t, "web"), consultest.Name(t, "old")
	sidecar(t, agent, web, served(t, plainListener(t), http.HandlerFunc(whoCalls), only2()))
	var asked atomic.Int32
	sidecar(t, agent, old, served(t, plainListener(t), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method != "PRI" { // the preface, which net/http takes for a request
			asked.Add(1)
		}
	}), nil))
	shop := member(t, agent, consultest.Name(t, "shop"), mesh.Options{
		Defaults: policy.Service{HTTP: policy.HTTP{Protocol: policy.HTTP2}, Retry: policy.Retry{Attempts: 1}},
	})
	eventually(t, "HTTP/2", func() error {
		got, err := get(t, shop.HTTPClient(), "http://"+web+"/x")
		if err == nil && got != "200 HTTP/2.0 /x nobody" {
			t.Fatalf("got %q", got)
		}
		return err
	})
	eventually(t, "the fault", func() error {
		_, err := get(t, shop.HTTPClient(), "http://"+old+"/x")
		e, ok := errors.AsType[*call.Error](err)
		if !ok {
			t.Fatalf("got %v", err)
		}
		if e.Attempts == 0 || errors.Is(err, syscall.ECONNREFUSED) { // the proxy is not there yet
			return err
		}
		if e.Reason != call.Unreachable || e.Sent != call.NotSent || !strings.Contains(err.Error(), "HTTP/2") {
			t.Errorf("got %v", err)
		}
		return nil
	})
	if n := asked.Load(); n != 0 {
		t.Errorf("a server that has no HTTP/2 was asked %d times", n)
	}
}

// Programs that know nothing of the mesh call our server through a proxy on their
// side: over HTTP/1.1, HTTP/2 and gRPC, all on one port, none of them negotiated.
// Our server knows who calls.
func TestTheirProxyOurServer(t *testing.T) {
	agent := consultest.Shared(t)
	web, rpc, front := consultest.Name(t, "web"), consultest.Name(t, "rpc"), consultest.Name(t, "front")
	server := member(t, agent, web, mesh.Options{})
	port := served(t, meshListener(t, server), server.Middleware(http.HandlerFunc(whoCalls)), nil)
	calls := member(t, agent, rpc, mesh.Options{})
	for m, port := range map[*mesh.Mesh]int{server: port, calls: servedGRPC(t, meshListener(t, calls), calls.GRPCServerOptions()...)} {
		if _, err := m.Register(t.Context(), mesh.Registration{Address: "127.0.0.1", Port: port}); err != nil {
			t.Fatal(err)
		}
	}
	toWeb, toRPC := freePort(t), freePort(t)
	proxy(t, agent, "-service", front, "-upstream", fmt.Sprintf("%s:%d", web, toWeb), "-upstream", fmt.Sprintf("%s:%d", rpc, toRPC))
	for name, c := range map[string]struct {
		protocols *http.Protocols
		want      string
	}{"HTTP/1.1": {nil, "HTTP/1.1"}, "HTTP/2": {only2(), "HTTP/2.0"}} {
		client := &http.Client{Transport: &http.Transport{Protocols: c.protocols}}
		eventually(t, name, func() error {
			got, err := get(t, client, "http://"+at(toWeb)+"/y")
			if err == nil && got != "200 "+c.want+" /y "+front {
				t.Fatalf("got %q", got)
			}
			return err
		})
	}
	conn, err := grpc.NewClient(at(toRPC), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	eventually(t, "gRPC", func() error {
		got, err := unary(t, conn)
		if err == nil && got != front {
			t.Fatalf("got %q", got)
		}
		return err
	})
}

func only2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// A proxy for another service than the one that is called is refused by our client.
func TestTheirProxyIsAnother(t *testing.T) {
	agent := consultest.Shared(t)
	web, other := consultest.Name(t, "web"), consultest.Name(t, "other")
	port, listen := served(t, plainListener(t), http.HandlerFunc(whoCalls), nil), freePort(t)
	proxy(t, agent, "-service", other, "-service-addr", at(port), "-listen", at(listen))
	shop := member(t, agent, consultest.Name(t, "shop"), mesh.Options{
		Discovery: discovery.Static{web: {at(listen)}}, Defaults: policy.Service{Retry: policy.Retry{Attempts: 1}},
	})
	eventually(t, "the refusal", func() error {
		got, err := get(t, shop.HTTPClient(), "http://"+web+"/")
		if err == nil {
			t.Fatalf("got %q", got)
		}
		if !errors.Is(err, tlsutil.ErrDenied) {
			return err
		}
		return nil
	})
}
