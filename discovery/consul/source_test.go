package consul

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/discovery/discoverytest"
	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/internal/consultest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(consultest.Main(m)) }

func newClient(t *testing.T, o consul.Options) *consul.Client {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c, err := consul.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func theirs(t *testing.T, a *consultest.Agent) *api.Client {
	t.Helper()
	c, err := a.Client()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// set makes the agent have exactly these instances of the service.
func set(t *testing.T, c *api.Client, service string, instances ...discovery.Instance) {
	t.Helper()
	gone, err := c.Agent().ServicesWithFilter(fmt.Sprintf("Service == %q", service))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range instances {
		id := service + "-" + i.ID
		delete(gone, id)
		host, port, _ := strings.Cut(i.Address, ":")
		number := 0
		if _, err := fmt.Sscan(port, &number); err != nil {
			t.Fatal(err)
		}
		err := c.Agent().ServiceRegisterOpts(&api.AgentServiceRegistration{
			ID: id, Name: service, Address: host, Port: number, Tags: i.Tags, Meta: i.Meta,
			Weights: &api.AgentWeights{Passing: max(i.Weight, 1), Warning: max(i.Weight, 1)},
			Check:   &api.AgentServiceCheck{CheckID: id, TTL: "1h", Status: i.Health.String()},
		}, api.ServiceRegisterOpts{ReplaceExistingChecks: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Agent().UpdateTTL(id, "", i.Health.String()); err != nil {
			t.Fatal(err)
		}
	}
	for id := range gone {
		if err := c.Agent().ServiceDeregister(id); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConforms(t *testing.T) {
	agent := consultest.Shared(t)
	discoverytest.Run(t, discoverytest.Harness{
		Open: func(t *testing.T, services map[string][]discovery.Instance) discovery.Source {
			for name, instances := range services {
				set(t, theirs(t, agent), name, instances...)
			}
			return New(newClient(t, consul.Options{Address: agent.HTTPAddr}), Options{})
		},
		Set: func(t *testing.T, service string, instances ...discovery.Instance) {
			set(t, theirs(t, agent), service, instances...)
		},
		Name: func(t *testing.T, base string) string { return consultest.Name(t, base) },
	})
}

// follow watches a service until the test ends.
func follow(t *testing.T, s discovery.Source, service string) <-chan discovery.Update {
	t.Helper()
	told := make(chan discovery.Update, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Watch(ctx, service, func(u discovery.Update) { told <- u })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return told
}

// await returns the first update that is wanted, within the time.
func await(t *testing.T, told <-chan discovery.Update, within time.Duration, what string, wanted func(discovery.Update) bool) discovery.Update {
	t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		select {
		case u := <-told:
			if wanted(u) {
				return u
			}
		case <-timer.C:
			t.Fatalf("not told within %v: %s", within, what)
		}
	}
}

func count(n int) func(discovery.Update) bool {
	return func(u discovery.Update) bool { return u.Err == nil && len(u.Snapshot.Instances) == n }
}

func anything(discovery.Update) bool { return true }

func TestConnectTellsMeshInstancesOnly(t *testing.T) {
	agent := consultest.Shared(t)
	name := consultest.Name(t, "web")
	for id, native := range map[string]bool{"plain": false, "native": true} {
		err := theirs(t, agent).Agent().ServiceRegister(&api.AgentServiceRegistration{
			ID: name + id, Name: name, Port: 80, Connect: &api.AgentServiceConnect{Native: native},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s := New(newClient(t, consul.Options{Address: agent.HTTPAddr}), Options{Connect: true})
	u := await(t, follow(t, s, name), 5*time.Second, "the native one", count(1))
	if id := u.Snapshot.Instances[0].ID; id != agent.Node+"/"+name+"native" {
		t.Errorf("told %s", id)
	}
}

// TestAgentGone: what was known stays, the error is told, and the agent's
// return is seen.
func TestAgentGone(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{Persistent: true})
	set(t, theirs(t, agent), "web", discoverytest.Instance("a", "127.0.0.1:1"))
	told := follow(t, New(newClient(t, consul.Options{Address: agent.HTTPAddr}), Options{}), "web")
	await(t, told, 5*time.Second, "the instance", count(1))
	agent.Kill()
	u := await(t, told, 10*time.Second, "the error", anything)
	if u.Err == nil || len(u.Snapshot.Instances) > 0 {
		t.Errorf("told %+v when the agent was gone", u)
	}
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, told, 40*time.Second, "the instance again", count(1))
}

// scripted is an agent that answers as it is told, each answer about health only
// when the test allows it: else some might be overtaken by the next.
type scripted struct {
	allow   chan struct{}
	mu      sync.Mutex
	answers map[string][]string // by path
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v1/health/") {
		select {
		case <-s.allow:
		case <-r.Context().Done():
			return
		}
	}
	s.mu.Lock()
	queue := s.answers[r.URL.Path]
	if len(queue) == 0 {
		s.mu.Unlock()
		<-r.Context().Done()
		return
	}
	s.answers[r.URL.Path] = queue[1:]
	s.mu.Unlock()
	w.Header().Set("X-Consul-Index", strconv.Itoa(100-len(queue)))
	if queue[0] == "500" {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = w.Write([]byte(queue[0]))
}

const health1 = `[{"Node":{"Node":"n","Address":"10.0.0.1","Datacenter":"far","TaggedAddresses":{"wan":"8.8.8.8"}},` +
	`"Service":{"ID":"s","Port":1,"ModifyIndex":%d},"Checks":[{"Status":"passing","Output":"%d"}]},` +
	`{"Node":{"Node":"n","Address":"h"},"Service":{"ID":"socket","SocketPath":"/x"}}]`

// journal is a log that may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) count(part string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), part)
}

func TestRemoteDatacenterAndRepetitions(t *testing.T) {
	var log journal
	script := &scripted{allow: make(chan struct{}, 10), answers: map[string][]string{
		"/v1/agent/self": {"500", `{"Config":{"Datacenter":"near"}}`},
		"/v1/health/service/web": {
			fmt.Sprintf(health1, 1, 1), fmt.Sprintf(health1, 2, 2), `{"not":"a list"}`, fmt.Sprintf(health1, 3, 3),
			`[]`, `[]`, // the second one confirms
		},
	}}
	server := httptest.NewServer(script)
	t.Cleanup(server.Close)
	client := newClient(t, consul.Options{Address: server.URL})
	told := follow(t, New(client, Options{Datacenter: "far", Logger: slog.New(slog.NewTextHandler(&log, nil))}), "web")
	for i, step := range []struct {
		answers int // until it is told
		want    string
	}{{0, "error"}, {1, "8.8.8.8:1"}, {2, "error"}, {1, "8.8.8.8:1"}, {2, "empty"}} {
		w := step.want
		for range step.answers {
			script.allow <- struct{}{}
		}
		u := await(t, told, 20*time.Second, w, anything)
		got := "empty"
		switch {
		case u.Err != nil:
			got = "error"
		case len(u.Snapshot.Instances) > 0:
			got = u.Snapshot.Instances[0].Address
		case u.Snapshot.Unknown:
			got = "unknown"
		}
		if got != w {
			t.Errorf("update %d: %s (%+v), want %s", i, got, u, w)
		}
	}
	if n := log.count("n/socket"); n != 1 {
		t.Errorf("%d lines about the socket, want one", n)
	}
}

func TestNamesThatAreNone(t *testing.T) {
	s := New(newClient(t, consul.Options{Address: "127.0.0.1:1"}), Options{})
	for _, name := range []string{"", ".", ".."} {
		if err := s.Watch(t.Context(), name, func(u discovery.Update) { t.Errorf("told %+v", u) }); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}
