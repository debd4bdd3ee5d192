package consul

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/internal/consultest"
)

func registrationOf(service string) discovery.Registration {
	return discovery.Registration{
		Service: service,
		Instance: discovery.Instance{
			ID: service + "-1", Address: "127.0.0.1:8080", Weight: 5,
			Tags: []string{"b", "a"}, Meta: map[string]string{"version": "v1"}, Region: "eu", Zone: "eu-1",
		},
		TTL: 6 * time.Second, MeshNative: true,
	}
}

func register(t *testing.T, client *consul.Client, r discovery.Registration) (discovery.Registered, *journal) {
	t.Helper()
	log := &journal{}
	reg, err := NewRegistrar(client, slog.New(slog.NewTextHandler(log, nil))).Register(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Deregister(context.Background()) })
	return reg, log
}

// awaitLog waits until the log has at least n lines of that kind; 10 s is what an
// agent may be without our registration.
func awaitLog(t *testing.T, log *journal, part string, n int) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for log.count(part) < n {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not logged within 10 s: %q, time %d", part, n)
		}
	}
}

func passing(u discovery.Update) bool {
	return u.Err == nil && len(u.Snapshot.Instances) == 1 && u.Snapshot.Instances[0].Health == discovery.Passing
}

func TestRegisterAndDeregister(t *testing.T) {
	agent := consultest.Shared(t)
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	r := registrationOf(consultest.Name(t, "web"))
	told := follow(t, New(client, Options{}), r.Service)
	await(t, told, 5*time.Second, "nobody", count(0))
	reg, log := register(t, client, r)
	u := await(t, told, 5*time.Second, "the instance", passing)
	want := r.Instance
	want.ID, want.Node, want.Datacenter = agent.Node+"/"+r.Instance.ID, agent.Node, "dc1"
	if got := u.Snapshot.Instances[0]; !got.Equal(want) {
		t.Errorf("registered %+v, found %+v", want, got)
	}
	// Longer than the TTL: signs of life keep it passing, and nothing is told or
	// registered again while nothing changes.
	timer := time.NewTimer(8 * time.Second)
	defer timer.Stop()
	select {
	case u := <-told:
		t.Errorf("told %+v although nothing changed", u)
	case <-timer.C:
	}
	if log.count("registered again") != 0 {
		t.Error("registered again although the agent had forgotten nothing")
	}
	for range 2 {
		if err := reg.Deregister(t.Context()); err != nil {
			t.Error(err)
		}
	}
	await(t, told, 5*time.Second, "that it left", count(0))
}

func TestAgentForgetsAService(t *testing.T) {
	agent := consultest.Shared(t)
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	r := registrationOf(consultest.Name(t, "web"))
	told := follow(t, New(client, Options{}), r.Service)
	_, log := register(t, client, r)
	await(t, told, 5*time.Second, "the instance", passing)
	for name, harm := range map[string]func(*api.Agent) error{
		"service": func(a *api.Agent) error { return a.ServiceDeregister(r.Instance.ID) },
		"check":   func(a *api.Agent) error { return a.CheckDeregister("service:" + r.Instance.ID + ":ttl") },
		"content": func(a *api.Agent) error {
			return a.ServiceRegister(&api.AgentServiceRegistration{ID: r.Instance.ID, Name: r.Service, Address: "127.0.0.1", Port: 1})
		},
	} {
		before := log.count("registered again")
		if err := harm(theirs(t, agent).Agent()); err != nil {
			t.Fatal(err)
		}
		awaitLog(t, log, "registered again", before+1)
		service, _, err := theirs(t, agent).Agent().Service(r.Instance.ID, nil)
		if err != nil || service.Port != 8080 {
			t.Errorf("%s: afterwards the agent has %+v, %v", name, service, err)
		}
	}
}

func TestAgentRestartsWithoutMemory(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{})
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	r := registrationOf("web")
	r.TTL = 0 // the default
	_, log := register(t, client, r)
	agent.Kill()
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	told := follow(t, New(newClient(t, consul.Options{Address: agent.HTTPAddr}), Options{}), r.Service)
	await(t, told, 10*time.Second, "the registration back", passing)
	awaitLog(t, log, "registered again", 1) // it is written after the agent has answered
}

func TestRegisterWaitsForTheAgent(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{})
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	agent.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := NewRegistrar(client, slog.New(slog.DiscardHandler)).Register(ctx, registrationOf("web"))
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, consul.ErrUnreachable) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("without an agent: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		reg, err := NewRegistrar(client, slog.New(slog.DiscardHandler)).Register(t.Context(), registrationOf("web"))
		if err == nil {
			err = reg.Deregister(t.Context())
		}
		done <- err
	}()
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("when the agent came: %v", err)
	}
}

func TestProbedByTheAgent(t *testing.T) {
	agent := consultest.Shared(t)
	up := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(up.Close)
	ok := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(ok.Close)
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	r := registrationOf(consultest.Name(t, "web"))
	r.CheckHTTP, r.CheckInterval = ok.URL, time.Second
	register(t, client, r)
	await(t, follow(t, New(client, Options{}), r.Service), 10*time.Second, "passing by a probe", passing)
	bad := registrationOf(consultest.Name(t, "bad"))
	bad.CheckHTTP, bad.CheckInterval = up.URL, time.Second
	register(t, client, bad)
	u := await(t, follow(t, New(client, Options{}), bad.Service), 10*time.Second, "the failing one", count(1))
	if u.Snapshot.Instances[0].Health != discovery.Critical {
		t.Errorf("told %+v before any probe has passed", u)
	}
}

func TestRegisterRefused(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{
		Config: `acl { enabled = true default_policy = "deny" tokens { initial_management = "root" agent = "root" } }`,
		Token:  "root",
	})
	for _, token := range []string{"", "nobody"} {
		client := newClient(t, consul.Options{Address: agent.HTTPAddr, Token: token})
		_, err := NewRegistrar(client, slog.New(slog.DiscardHandler)).Register(t.Context(), registrationOf("web"))
		if !errors.Is(err, ErrPermission) {
			t.Errorf("token %q: %v", token, err)
		}
	}
	client := newClient(t, consul.Options{Address: agent.HTTPAddr, Token: "root"})
	bad := registrationOf("web")
	bad.Instance.Meta = map[string]string{"not allowed!": "x"}
	_, err := NewRegistrar(client, slog.New(slog.DiscardHandler)).Register(t.Context(), bad)
	if status, ok := errors.AsType[*consul.StatusError](err); !ok || status.Code != 400 {
		t.Errorf("bad meta: %v", err)
	}
	register(t, client, registrationOf("web"))
}

func TestRegistrationFaults(t *testing.T) {
	client := newClient(t, consul.Options{Address: "127.0.0.1:1"})
	_, err := NewRegistrar(client, nil).Register(t.Context(), discovery.Registration{
		Instance: discovery.Instance{ID: "1", Address: "nowhere", Weight: -1, Zone: "eu-1"}, TTL: -1, CheckInterval: -1, DeregisterAfter: -1,
	})
	for _, part := range []string{"no service name", "nowhere", "TTL", "CheckInterval", "DeregisterAfter", "Weight", "Zone"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
}

func TestDeregisterWithoutAgentIsBounded(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{})
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	r := registrationOf("web")
	reg, err := NewRegistrar(client, slog.New(slog.DiscardHandler)).Register(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	// Somebody else was faster: fine.
	other := registrationOf("other")
	gone, _ := register(t, client, other)
	if err := theirs(t, agent).Agent().ServiceDeregister(other.Instance.ID); err != nil {
		t.Fatal(err)
	}
	if err := gone.Deregister(t.Context()); err != nil {
		t.Errorf("deregistered by another: %v", err)
	}
	agent.Kill()
	start := time.Now()
	if err := reg.Deregister(context.Background()); !errors.Is(err, consul.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without an agent: %v", err)
	}
	if took := time.Since(start); took > parting+time.Second {
		t.Errorf("it took %v to give up", took)
	}
}
