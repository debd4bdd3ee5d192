package mesh_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// With Consul's identity nothing is registered by a name that callers would not
// accept it by, and nothing of it stays behind.
func TestOneName(t *testing.T) {
	agent := consultest.Shared(t)
	registry, h := new(discovery.Memory), newHouse()
	opened := func(o mesh.TLSOptions) *mesh.Mesh {
		o.Consul = true
		return newMesh(t, mesh.Options{Discovery: registry, Registrar: registry, Consul: mesh.ConsulOptions{Address: agent.HTTPAddr}, TLS: o})
	}
	wrong := map[string]func(*mesh.Mesh) error{
		"Registration.Service": func(m *mesh.Mesh) error {
			_, err := m.Register(t.Context(), mesh.Registration{Port: 80, Service: "web"})
			return err
		},
		"Registration.Ports[0]": func(m *mesh.Mesh) error {
			_, err := m.Register(t.Context(), mesh.Registration{Port: 80, Ports: []mesh.Port{{Name: "grpc", Port: 81}}})
			return err
		},
		"Serving.GRPCAddr": func(m *mesh.Mesh) error {
			return m.Serve(t.Context(), mesh.Serving{
				Addr: "127.0.0.1:0", GRPCAddr: "127.0.0.1:0", HTTP: h,
				GRPC: func(s *grpc.Server) { grpc_testing.RegisterTestServiceServer(s, h) },
			})
		},
	}
	for field, do := range wrong {
		for _, mode := range []mesh.TLSMode{"", mesh.TLSPermissive} {
			err := do(opened(mesh.TLSOptions{Mode: mode}))
			if e, ok := errors.AsType[*mesh.OptionError](err); !ok || e.Field != field {
				t.Errorf("%s, mode %q: %v", field, mode, err)
			}
		}
	}
	for _, name := range []string{"web", "checkout", "checkout-grpc"} {
		if all := instancesOf(t, registry, name); len(all) != 0 {
			t.Errorf("registered: %+v", all)
		}
	}
	m := opened(mesh.TLSOptions{Mode: mesh.TLSOff})
	for name, r := range map[string]mesh.Registration{
		"without TLS": {Service: "web", ID: "a", Address: "10.0.0.1", Port: 80, Ports: []mesh.Port{{Name: "grpc", Port: 81}}},
		"its own":     {Service: "checkout", ID: "b", Address: "10.0.0.1", Port: 80},
	} {
		if _, err := m.Register(t.Context(), r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := opened(mesh.TLSOptions{}).Register(t.Context(), mesh.Registration{Service: "checkout", Port: 80}); err != nil {
		t.Errorf("its own name: %v", err)
	}
}

// What the error advises: a port for gRPC alone has a mesh of its own, and with
// it an identity that callers accept.
func TestAPortOfItsOwnName(t *testing.T) {
	agent, h := consultest.Shared(t), newHouse()
	orders := consultest.Name(t, "orders")
	inside := mesh.Options{Consul: mesh.ConsulOptions{Address: agent.HTTPAddr}, TLS: mesh.TLSOptions{Consul: true}, Logger: slog.New(slog.DiscardHandler)}
	for service, s := range map[string]mesh.Serving{
		orders:           {HTTP: http.HandlerFunc(ok)},
		orders + "-grpc": {GRPC: func(s *grpc.Server) { grpc_testing.RegisterTestServiceServer(s, h) }},
	} {
		o := inside
		o.Service, s.Addr, s.Quiet = service, "127.0.0.1:0", -1
		m, err := mesh.New(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- m.Serve(ctx, s) }()
		t.Cleanup(func() {
			leave()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			_ = m.Close(context.Background())
		})
	}
	caller := identified(t, agent, consultest.Name(t, "shop"), mesh.Options{Defaults: policy.Service{Retry: policy.Retry{Attempts: 1}}})
	conn, err := caller.GRPCClient(orders + "-grpc")
	if err != nil {
		t.Fatal(err)
	}
	client := caller.HTTPClient()
	eventually(t, patience, "both are called", func() bool {
		body, err := bodyOf(client, "http://"+orders+"/")
		if err != nil || body != "200 ok" {
			return false
		}
		_, err = grpc_testing.NewTestServiceClient(conn).UnaryCall(limited(t), &grpc_testing.SimpleRequest{})
		return err == nil
	})
}
