package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

// eventually polls a condition that another process brings about.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", within, what)
		case <-tick.C:
		}
	}
}

func consulMesh(t *testing.T, agent *consultest.Agent, service string) *mesh.Mesh {
	t.Helper()
	return newMesh(t, mesh.Options{Consul: mesh.ConsulOptions{Address: agent.HTTPAddr, KVPrefix: service}})
}

func consulClient(t *testing.T, agent *consultest.Agent) *api.Client {
	t.Helper()
	client, err := agent.Client()
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// serve starts an instance that answers with its name, and registers it.
func serve(t *testing.T, m *mesh.Mesh, service, id string) (discovery.Registered, *httptest.Server) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, id) }))
	t.Cleanup(s.Close)
	return registered(t, m, mesh.Registration{Service: service, ID: id}, s.Listener.Addr().String()), s
}

// registered registers an instance that listens at addr.
func registered(t *testing.T, m *mesh.Mesh, r mesh.Registration, addr string) discovery.Registered {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	r.Address = host
	if r.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	reg, err := m.Register(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

func bodyOf(c *http.Client, url string) (string, error) {
	res, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	return fmt.Sprintf("%d %s", res.StatusCode, body), nil
}

func TestConsulInstancesComeAndGo(t *testing.T) {
	agent := consultest.Shared(t)
	name := consultest.Name(t, "web")
	m := consulMesh(t, agent, name)
	client := m.HTTPClient()

	if _, err := bodyOf(client, "http://"+name+"/"); !errors.Is(err, discovery.ErrUnknownService) {
		t.Errorf("before anybody registered: %v", err)
	}
	first, _ := serve(t, m, name, name+"-1")
	eventually(t, 5*time.Second, "the first instance answers", func() bool {
		body, err := bodyOf(client, "http://"+name+".service.consul/")
		return err == nil && body == "200 "+name+"-1"
	})
	serve(t, m, name, name+"-2")
	eventually(t, 5*time.Second, "the second instance answers", func() bool {
		body, err := bodyOf(client, "http://"+name+"/")
		return err == nil && body == "200 "+name+"-2"
	})
	if err := first.Deregister(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the first instance is out of rotation", func() bool {
		return len(m.Upstreams()) > 0 && len(m.Upstreams()[0].Instances) == 1
	})
	if err := m.Ready(t.Context(), name); err != nil {
		t.Error(err)
	}
}

func TestConsulPolicyTakesEffect(t *testing.T) {
	agent := consultest.Shared(t)
	name := consultest.Name(t, "web")
	m := consulMesh(t, agent, name)
	client := m.HTTPClient()
	var tries atomic.Int64
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		tries.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(failing.Close)
	kv := consulClient(t, agent).KV()
	put := func(doc string) {
		if _, err := kv.Put(&api.KVPair{Key: name + "/services/" + name, Value: []byte(doc)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	put(`{"retry": {"attempts": 1}, "breaker": {"open": "off"}}`)
	registered(t, m, mesh.Registration{Service: name, ID: name}, failing.Listener.Addr().String())
	triesNow := func() int64 {
		tries.Store(0)
		if _, err := bodyOf(client, "http://"+name+"/"); err != nil {
			return -1
		}
		return tries.Load()
	}
	eventually(t, 5*time.Second, "one try a call", func() bool { return triesNow() == 1 })
	put(`{"retry": {"attempts": 4}, "breaker": {"open": "off"}}`)
	eventually(t, time.Second, "four tries a call, within a second", func() bool { return triesNow() == 4 })
	put(`{"retry": {"attempts": 400}}`) // refused as a whole
	put(`{"retry": {"attempts": 2}, "breaker": {"open": "off"}}`)
	eventually(t, time.Second, "two tries a call, after a bad document", func() bool { return triesNow() == 2 })
}

func TestConsulUnreachableAtStart(t *testing.T) {
	m := newMesh(t, mesh.Options{Consul: mesh.ConsulOptions{Address: "127.0.0.1:1"}})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://web/", nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = m.HTTPClient().Do(req)
	if !errors.Is(err, discovery.ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the call ended with %v", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the call took %v", took)
	}
	if err := m.Ready(ctx); !errors.Is(err, discovery.ErrNotReady) {
		t.Errorf("Ready: %v", err)
	}
}

// shortly is a context for what is known not to come.
func shortly(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), 100*time.Millisecond)
}
