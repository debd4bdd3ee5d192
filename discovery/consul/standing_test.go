package consul

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/internal/consultest"
)

// mood is a reporter that says what it is told to say.
type mood struct {
	mu      sync.Mutex
	health  discovery.Health
	changed chan struct{}
}

func newMood(h discovery.Health) *mood { return &mood{health: h, changed: make(chan struct{})} }

func (m *mood) set(h discovery.Health) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.health = h
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *mood) Health() (discovery.Health, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.health, "feels " + m.health.String()
}

func (m *mood) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

func sees(want discovery.Health) func(discovery.Update) bool {
	return func(u discovery.Update) bool {
		return u.Err == nil && len(u.Snapshot.Instances) == 1 && u.Snapshot.Instances[0].Health == want
	}
}

// What the instance says of itself reaches those who watch, at once and with its
// weight; and an agent that has forgotten it learns it as it is.
func TestReporterIsHeard(t *testing.T) {
	agent := consultest.Shared(t)
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	r := registrationOf(consultest.Name(t, "web"))
	m := newMood(discovery.Critical)
	r.Reporter, r.Instance.Weight, r.WarningWeight = m, 10, 3
	told := follow(t, New(client, Options{}), r.Service)
	_, log := register(t, client, r)
	await(t, told, 5*time.Second, "that it is critical at first", sees(discovery.Critical))
	weights := map[discovery.Health]int{discovery.Passing: 10, discovery.Warning: 3, discovery.Critical: 10}
	for _, h := range []discovery.Health{discovery.Passing, discovery.Warning, discovery.Critical} { // each another than before
		m.set(h)
		if u := await(t, told, 5*time.Second, h.String(), sees(h)); u.Snapshot.Instances[0].Weight != weights[h] {
			t.Errorf("%v with weight %d, want %d", h, u.Snapshot.Instances[0].Weight, weights[h])
		}
	}
	m.set(discovery.Warning)
	await(t, told, 5*time.Second, "warning", sees(discovery.Warning))
	if err := theirs(t, agent).Agent().ServiceDeregister(r.Instance.ID); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, log, "registered again", 1)
	checks, err := theirs(t, agent).Agent().Checks()
	if err != nil {
		t.Fatal(err)
	}
	if c := checks["service:"+r.Instance.ID+":ttl"]; c == nil || c.Status != "warning" || c.Output != "feels warning" {
		t.Errorf("after it was forgotten: %+v", c)
	}
}

// Who drains is critical in the catalog when Drain returns, whether by its own
// sign or, if it is probed, by the agent's flag; also if the agent has forgotten
// it meanwhile. Who comes back under the same ID is as it says.
func TestDrain(t *testing.T) {
	agent := consultest.Shared(t)
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	for name, probe := range map[string]string{"ttl": "", "probed": "http://" + agent.HTTPAddr + "/v1/status/leader"} {
		t.Run(name, func(t *testing.T) {
			r := registrationOf(consultest.Name(t, "web"))
			r.CheckHTTP, r.CheckInterval, r.Reporter = probe, time.Second, newMood(discovery.Passing)
			reg, log := register(t, client, r)
			told := follow(t, New(client, Options{}), r.Service)
			await(t, told, 10*time.Second, "passing", passing)
			if err := reg.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			entries, _, err := theirs(t, agent).Health().Service(r.Service, "", true, nil)
			if err != nil || len(entries) != 0 {
				t.Errorf("passing after Drain: %d, %v", len(entries), err)
			}
			await(t, told, time.Second, "critical", sees(discovery.Critical))
			if err := theirs(t, agent).Agent().ServiceDeregister(r.Instance.ID); err != nil {
				t.Fatal(err)
			}
			awaitLog(t, log, "registered again", 1)
			entries, _, err = theirs(t, agent).Health().Service(r.Service, "", true, nil)
			if err != nil || len(entries) != 0 {
				t.Errorf("passing after it was forgotten: %d, %v", len(entries), err)
			}
			// It dies without deregistering, and its successor has its ID.
			reg.(*keeper).stop()
			register(t, client, r)
			await(t, told, 10*time.Second, "its successor", passing)
		})
	}
}

// Maintenance is Consul's flag: ours is seen and cleared by others, theirs is
// heard by us, and neither is lost when the agent has to be told anew.
func TestMaintenance(t *testing.T) {
	agent := consultest.Shared(t)
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	r := registrationOf(consultest.Name(t, "web"))
	r.TTL = time.Second // a look three times as often
	heard := make(chan string, 10)
	r.Maintained = func(reason string) { heard <- reason }
	hears := func(want string) { t.Helper(); hear(t, heard, want) }
	told := follow(t, New(client, Options{}), r.Service)
	reg, log := register(t, client, r)
	await(t, told, 5*time.Second, "passing", passing)

	if err := reg.Maintenance(t.Context(), true, "painting"); err != nil {
		t.Fatal(err)
	}
	hears("painting")
	await(t, told, 5*time.Second, "out of rotation", sees(discovery.Critical))
	if err := theirs(t, agent).Agent().ServiceDeregister(r.Instance.ID); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, log, "registered again", 1)
	checks, err := theirs(t, agent).Agent().Checks()
	if err != nil {
		t.Fatal(err)
	}
	if c := checks["_service_maintenance:"+r.Instance.ID]; c == nil || c.Notes != "painting" {
		t.Errorf("after the agent had forgotten it: %+v", c)
	}
	if err := reg.Maintenance(t.Context(), false, ""); err != nil {
		t.Fatal(err)
	}
	hears("")
	await(t, told, 5*time.Second, "back", passing)

	if err := theirs(t, agent).Agent().EnableServiceMaintenance(r.Instance.ID, "inspection"); err != nil {
		t.Fatal(err)
	}
	hears("inspection")
	other := r
	other.Instance.Meta = map[string]string{"version": "v2"} // a new start, with another content
	reg.(*keeper).stop()
	register(t, client, other)
	hears("inspection")
	await(t, told, 5*time.Second, "still out of rotation", func(u discovery.Update) bool {
		return sees(discovery.Critical)(u) && u.Snapshot.Instances[0].Meta["version"] == "v2"
	})
	if err := theirs(t, agent).Agent().DisableServiceMaintenance(r.Instance.ID); err != nil {
		t.Fatal(err)
	}
	hears("")
	await(t, told, 5*time.Second, "back again", passing)
}

// hear waits for what a program is told of its maintenance.
func hear(t *testing.T, heard <-chan string, want string) {
	t.Helper()
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case got := <-heard:
		if got != want {
			t.Fatalf("heard %q, want %q", got, want)
		}
	case <-timer.C:
		t.Fatalf("not heard: %q", want)
	}
}

// A machine in maintenance takes its instances with it, and they know.
func TestNodeMaintenance(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{})
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	r := registrationOf("web")
	heard := make(chan string, 10)
	r.TTL, r.Maintained = time.Second, func(reason string) { heard <- reason }
	told := follow(t, New(client, Options{}), r.Service)
	register(t, client, r)
	await(t, told, 5*time.Second, "passing", passing)
	if err := theirs(t, agent).Agent().EnableNodeMaintenance("new disk"); err != nil {
		t.Fatal(err)
	}
	await(t, told, 5*time.Second, "out of rotation", sees(discovery.Critical))
	if reason := <-heard; reason != "new disk" {
		t.Errorf("heard %q", reason)
	}
	if err := theirs(t, agent).Agent().DisableNodeMaintenance(); err != nil {
		t.Fatal(err)
	}
	await(t, told, 5*time.Second, "back", passing)
	if reason := <-heard; reason != "" {
		t.Errorf("heard %q", reason)
	}
}

func TestDrainWithoutAgentIsBounded(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{})
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	reg, _ := register(t, client, registrationOf("web"))
	agent.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := reg.Drain(ctx); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("without an agent: %v", err)
	}
}

func TestTaggedAddresses(t *testing.T) {
	agent := consultest.Shared(t)
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	r := registrationOf(consultest.Name(t, "web"))
	r.TTL, r.TaggedAddresses = time.Second, map[string]string{"wan": "198.51.100.7:29001"}
	_, log := register(t, client, r)
	told := follow(t, New(client, Options{}), r.Service)
	await(t, told, 5*time.Second, "passing", passing)
	service, _, err := theirs(t, agent).Agent().Service(r.Instance.ID, nil)
	if err != nil || service.TaggedAddresses["wan"].Address != "198.51.100.7" || service.TaggedAddresses["wan"].Port != 29001 {
		t.Errorf("%+v, %v", service, err)
	}
	// The addresses that Consul adds are no reason to register again.
	if service, _, err = theirs(t, agent).Agent().Service(r.Instance.ID, nil); err != nil || len(service.TaggedAddresses) < 2 {
		t.Errorf("%+v, %v", service, err)
	}
	if n := log.count("registered again"); n != 0 {
		t.Errorf("registered again %d times", n)
	}
	r.TaggedAddresses = map[string]string{"wan": "nowhere"}
	if err := r.Validate(); err == nil || !strings.Contains(err.Error(), "TaggedAddresses") {
		t.Errorf("a bad one: %v", err)
	}
}
