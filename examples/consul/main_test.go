package main

import (
	"context"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/internal/consultest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDemo(t *testing.T) {
	agent := launch(t)
	var out strings.Builder
	if err := open(t.Context(), &out, agent.HTTPAddr, 4*time.Second); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		`inventory-1 is killed\n`, `payments-1 is killed\n`,
		`inventory-3 +\d+ %`, `payments-3 +\d+ %`, // the table
		`\n[1-9]\d+ calls, 0 failed, [1-9]\d* retries\n`, // somebody was hit by the killing
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("the output does not show %q:\n%s", want, &out)
		}
	}
	if got, want := registered(t, agent), []string{"inventory-1", "payments-1"}; !slices.Equal(got, want) {
		t.Errorf("afterwards Consul knows %q, want only those that were killed, %q", got, want)
	}
}

func TestInterrupted(t *testing.T) {
	agent := launch(t)
	ctx, interrupt := context.WithCancel(t.Context())
	out := &watcher{word: "calls, ", found: interrupt}
	began := time.Now()
	_ = open(ctx, out, agent.HTTPAddr, 5*time.Minute)
	if ctx.Err() == nil || time.Since(began) > time.Minute {
		t.Errorf("the demo went on for %v:\n%s", time.Since(began), &out.said)
	}
	if got := registered(t, agent); len(got) > 0 {
		t.Errorf("afterwards Consul knows %q, want nobody:\n%s", got, &out.said)
	}
}

func TestFailedCallFailsTheDemo(t *testing.T) {
	agent := launch(t)
	s := &shop{out: io.Discard, dir: t.TempDir(), env: environment(agent.HTTPAddr)}
	if err := s.furnish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.trade(t.Context(), time.Second); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("nobody serves, and the demo says %v", err)
	}
}

// watcher calls found when it reads the word.
type watcher struct {
	word  string
	found func()
	said  strings.Builder
}

func (w *watcher) Write(b []byte) (int, error) {
	if strings.Contains(string(b), w.word) {
		w.found()
	}
	return w.said.Write(b)
}

// launch starts an agent, and sees to it that the demo leaves no file behind.
func launch(t *testing.T) *consultest.Agent {
	t.Helper()
	if testing.Short() {
		t.Skip("runs programs for some seconds")
	}
	agent := consultest.Start(t, consultest.Options{})
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v (%v)", left, err)
		}
	})
	return agent
}

// registered are the instances that Consul knows.
func registered(t *testing.T, agent *consultest.Agent) []string {
	t.Helper()
	client, err := agent.Client()
	if err != nil {
		t.Fatal(err)
	}
	services, err := client.Agent().Services()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(services))
}
