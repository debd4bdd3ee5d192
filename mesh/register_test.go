package mesh_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/health"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

func TestRegistrationFaults(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: new(discovery.Memory)})
	_, err := m.Register(t.Context(), mesh.Registration{
		Port: 70000, Address: "0.0.0.0", Version: "v1", Meta: map[string]string{"version": "v2"},
		Ports: []mesh.Port{{Name: "G", Port: 0}, {Name: "G", Port: 80}},
	})
	for _, part := range []string{"Registration.Port", "Address", "Version", "Ports[0].Name", "Ports[0].Port", "as that of another port"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
	if _, err := newMesh(t, mesh.Options{Discovery: discovery.Static{}}).Register(t.Context(), mesh.Registration{Port: 80}); !errors.Is(err, mesh.ErrNoRegistrar) {
		t.Errorf("with nowhere to register: %v", err)
	}
}

// refusing takes all but the services that end in one way.
type refusing struct {
	discovery.Memory
	suffix string
}

func (r *refusing) Register(ctx context.Context, reg discovery.Registration) (discovery.Registered, error) {
	if strings.HasSuffix(reg.Service, r.suffix) {
		return nil, errors.New("refused")
	}
	return r.Memory.Register(ctx, reg)
}

// A program is registered with all its ports or with none.
func TestRegisterAllOrNothing(t *testing.T) {
	registry := &refusing{suffix: "-grpc"}
	m := newMesh(t, mesh.Options{Discovery: registry})
	_, err := m.Register(t.Context(), mesh.Registration{Port: 80, Ports: []mesh.Port{{Name: "grpc", Port: 81}}})
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
	if all := instancesOf(t, registry, "checkout"); len(all) != 0 {
		t.Errorf("left behind: %+v", all)
	}
}

// instancesOf is what a source says first.
func instancesOf(t *testing.T, source discovery.Source, service string) (found []discovery.Instance) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_ = source.Watch(ctx, service, func(u discovery.Update) { found = u.Snapshot.Instances; cancel() })
	return found
}

func TestRegisterInMemory(t *testing.T) {
	registry := new(discovery.Memory)
	m := newMesh(t, mesh.Options{Discovery: registry, Region: "eu", Zone: "eu-1"})
	reg, err := m.Register(t.Context(), mesh.Registration{
		ID: "one", Address: "10.0.0.1", Port: 80, Weight: 10, WarningWeight: 2, Version: "v1", Ports: []mesh.Port{{Name: "grpc", Port: 81}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := discovery.Instance{
		ID: "one", Address: "10.0.0.1:80", Weight: 10, Meta: map[string]string{"version": "v1"}, Region: "eu", Zone: "eu-1",
	}
	sees := func(what string, health discovery.Health, weight int) {
		t.Helper()
		eventually(t, 5*time.Second, what, func() bool {
			want.Health, want.Weight = health, weight
			all := instancesOf(t, registry, "checkout")
			return len(all) == 1 && all[0].Equal(want)
		})
	}
	sees("the instance", discovery.Passing, 10)
	if all := instancesOf(t, registry, "checkout-grpc"); len(all) != 1 || all[0].ID != "one-grpc" || all[0].Address != "10.0.0.1:81" {
		t.Errorf("its further port: %+v", all)
	}
	remove, err := m.Health().Add(health.Check{
		Name: "cache", Kind: health.Informational, Func: func(context.Context) error { return errors.New("down") },
	})
	if err != nil {
		t.Fatal(err)
	}
	sees("the warning, by weight", discovery.Warning, 2)
	remove()
	sees("that it is well again", discovery.Passing, 10)
	if err := reg.Maintenance(t.Context(), true, "painting"); err != nil {
		t.Fatal(err)
	}
	sees("the maintenance", discovery.Critical, 10)
	if _, why := m.Health().Health(); !strings.Contains(why, "painting") {
		t.Errorf("in maintenance its health says %q", why)
	}
	if err := reg.Maintenance(t.Context(), false, ""); err != nil {
		t.Fatal(err)
	}
	sees("its end", discovery.Passing, 10)
	if err := reg.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	sees("that it leaves", discovery.Critical, 10)
	if m.Health().Report().Ready {
		t.Error("it leaves and is ready")
	}
	for range 2 {
		if err := reg.Deregister(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if all := instancesOf(t, registry, "checkout"); len(all) != 0 {
		t.Errorf("deregistered: %+v", all)
	}
}

// The registry is told that the program is not ready yet, if it says so.
func TestRegisterNotReady(t *testing.T) {
	registry := new(discovery.Memory)
	m := newMesh(t, mesh.Options{Discovery: registry})
	if _, err := m.Register(t.Context(), mesh.Registration{Address: "10.0.0.1", Port: 80, NotReady: true}); err != nil {
		t.Fatal(err)
	}
	if all := instancesOf(t, registry, "checkout"); len(all) != 1 || all[0].Health != discovery.Critical {
		t.Errorf("before it is ready: %+v", all)
	}
	m.Health().Ready()
	eventually(t, 5*time.Second, "it is ready", func() bool {
		all := instancesOf(t, registry, "checkout")
		return len(all) == 1 && all[0].Health == discovery.Passing
	})
}

// With Consul the address is found, the ports are there, and Drain returns when
// the catalog shows none of them as passing.
func TestRegisterWithConsul(t *testing.T) {
	agent := consultest.Shared(t)
	service := consultest.Name(t, "orders")
	m := consulMesh(t, agent, service)
	reg, err := m.Register(t.Context(), mesh.Registration{Service: service, Port: 8080, Ports: []mesh.Port{{Name: "grpc", Port: 8081}}})
	if err != nil {
		t.Fatal(err)
	}
	client := consulClient(t, agent)
	for name, port := range map[string]int{service: 8080, service + "-grpc": 8081} {
		eventually(t, 5*time.Second, name, func() bool {
			all, _, err := client.Health().Service(name, "", true, nil)
			return err == nil && len(all) == 1 && all[0].Service.Port == port && net.ParseIP(all[0].Service.Address) != nil
		})
	}
	if err := reg.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{service, service + "-grpc"} {
		if all, _, err := client.Health().Service(name, "", true, nil); err != nil || len(all) != 0 {
			t.Errorf("%s after Drain: %d passing, %v", name, len(all), err)
		}
	}
	if err := reg.Deregister(t.Context()); err != nil {
		t.Error(err)
	}
}
