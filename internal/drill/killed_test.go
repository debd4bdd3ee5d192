package drill

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/consultest"
)

// A member that is killed is out of rotation by its check, when the time of its
// last sign of life is over, and in the long form it is seen to be forgotten after
// its time.
func TestKilledIsOutOfRotation(t *testing.T) {
	long(t)
	s := newStage(t, consultest.Start(t, consultest.Options{}))
	killed := enlist(t, s.agent.HTTPAddr, false, map[string]string{"a": s.service})["a"]
	passing := func(only bool) int {
		all, _, err := s.consul.Health().Service(s.service, "", only, nil)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	s.await(5*time.Second, "it is passing", func() bool { return passing(true) == 1 })
	killed.kill()
	took := s.await(10*time.Second, "it is out of rotation", func() bool { return passing(true) == 0 })
	show(t, "who is killed is out of rotation by its check, within its TTL of 6 s and a moment", "%v", took.Round(time.Millisecond))
	if !longForm() {
		return
	}
	// Consul's least is a minute, and it looks every 30 s.
	took = s.await(100*time.Second, "it is forgotten", func() bool { return passing(false) == 0 })
	show(t, "and is deregistered after a minute and what Consul adds", "%v", took.Round(time.Second))
}

// Without an agent the servers notice who is killed, when its session has expired,
// and in the long form a sibling is seen to remove it.
func TestKilledWithoutAgent(t *testing.T) {
	long(t)
	s := newStage(t, consultest.Start(t, consultest.Options{}))
	members := enlistWith(t, s.agent.HTTPAddr, map[string]string{"a": s.service, "b": s.service}, aloneEnv+"=1")
	known := func(only bool) int {
		all, _, err := s.consul.Health().Service(s.service, "", only, nil)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	s.await(5*time.Second, "both are passing", func() bool { return known(true) == 2 })
	members["a"].kill()
	took := s.await(25*time.Second, "one is out of rotation", func() bool { return known(true) == 1 })
	show(t, "without an agent, who is killed is out of rotation within the 20 s of a session and a moment", "%v", took.Round(time.Millisecond))
	if !longForm() {
		return
	}
	// It waits a minute from when its sibling sees it dead, which looks every 30 s.
	took = s.await(130*time.Second, "it is removed", func() bool { return known(false) == 1 })
	show(t, "and its sibling removes it after a minute and the pauses between two looks", "%v", took.Round(time.Second))
	if known(true) != 1 {
		t.Error("the living one is gone")
	}
}

// What a member says of itself is what others make of it, curl here.
func TestHealthByCurl(t *testing.T) {
	long(t)
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl")
	}
	s := newStage(t, consultest.Start(t, consultest.Options{}))
	at := enlist(t, s.agent.HTTPAddr, false, map[string]string{"a": s.service})["a"].health
	for path, want := range map[string]string{
		"/livez":          "ok|200 text/plain; charset=utf-8",
		"/readyz":         "ok|200 text/plain; charset=utf-8",
		"/readyz?verbose": "readyz check passed\n|200 text/plain; charset=utf-8",
	} {
		said, err := exec.CommandContext(t.Context(), curl, "-s", "-w", "|%{http_code} %{content_type}", "http://"+at+path).CombinedOutput()
		if err != nil || string(said) != want {
			t.Errorf("%s: %q, %v: want %q", path, said, err, want)
		}
	}
	if err := exec.CommandContext(t.Context(), curl, "-sf", "http://"+at+"/readyz").Run(); err != nil {
		t.Errorf("as a probe: %v", err)
	}
	if err := s.consul.Agent().EnableServiceMaintenance(s.service+"-a", "inspection"); err != nil {
		t.Fatal(err)
	}
	s.await(10*time.Second, "it is not ready while Consul holds it", func() bool {
		said, err := exec.CommandContext(t.Context(), curl, "-s", "-w", "|%{http_code}", "http://"+at+"/readyz").CombinedOutput()
		return err == nil && strings.Contains(string(said), "inspection") && strings.HasSuffix(string(said), "|503")
	})
	show(t, "curl sees what Kubernetes expects, and Consul's maintenance", "200, 503 and plain text")
}
