package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// requireEnv turns the skip of a test without Prometheus into a failure when it is
// "1". CI sets it.
const requireEnv = "INNERMESH_REQUIRE_ENGINES"

// need returns the path of a program of Prometheus, or skips the test.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		const how = ": install it, on Debian with `apt-get install prometheus`"
		if os.Getenv(requireEnv) == "1" {
			t.Fatal(err.Error() + how)
		}
		t.Skip(err.Error() + how)
	}
	return path
}

// What is committed is what the code makes.
func TestGrafana(t *testing.T) {
	for name, page := range pages() {
		want, err := page.json()
		if err != nil {
			t.Fatal(err)
		}
		have, err := os.ReadFile(filepath.Join("grafana", name+".json"))
		if err != nil || !bytes.Equal(have, want) {
			t.Errorf("grafana/%s.json is not what the code makes (%v): run `make dashboards`", name, err)
		}
	}
}

// The rules are right, and each alert goes off when it should and not before.
func TestRules(t *testing.T) {
	promtool := need(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", "prometheus/recording.yml", "prometheus/alerts.yml"}, {"test", "rules", "prometheus/tests.yml"},
	} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
