package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every picture shows something of the shop in examples/observability, whose
// metrics a real Prometheus has scraped.
func TestNoPanelIsEmpty(t *testing.T) {
	prometheus := need(t, "prometheus")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	api := scraping(ctx, t, prometheus, shop(ctx, t))
	empty := map[string]string{}
	for page, p := range pages() {
		for _, c := range p.choices {
			empty[page+", choice "+c.name] = fmt.Sprintf("count by (%s) (%s)", c.name, metricOf(c.values))
		}
		for _, r := range p.rows {
			for _, one := range r.panels {
				for i, q := range one.queries {
					empty[fmt.Sprintf("%s, %s: %s, query %d", page, r.title, one.title, i+1)] = concrete(q.expr)
				}
			}
		}
	}
	total := len(empty)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for len(empty) > 0 && ctx.Err() == nil {
		for what, expr := range empty {
			n, err := api.query(ctx, expr)
			if err != nil && ctx.Err() == nil {
				t.Fatalf("%s: %v", what, err)
			}
			if n > 0 {
				delete(empty, what)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	for _, what := range slices.Sorted(maps.Keys(empty)) {
		t.Errorf("%s is empty: %s", what, empty[what])
	}
	t.Logf("%d queries", total)
	api.rules(ctx, t)
}

// concrete puts in what a reader would have chosen.
func concrete(expr string) string {
	return strings.NewReplacer("$__rate_interval", "10s", "$source", ".*", "$service", ".*").Replace(expr)
}

var values = regexp.MustCompile(`label_values\((.*), (\w+)\)`)

// metricOf returns the series that a list of choices is made of.
func metricOf(choice string) string { return concrete(values.FindStringSubmatch(choice)[1]) }

// shop runs the example and returns where it serves its metrics.
func shop(ctx context.Context, t *testing.T) (addr string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "observability")
	build := exec.CommandContext(ctx, "go", "-C", "../examples/observability", "build", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out := start(ctx, t, exec.CommandContext(ctx, program, "-addr", "127.0.0.1:0", "-rate", "20"))
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	u, err := url.Parse(strings.TrimSuffix(strings.Fields(line)[2], ","))
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return u.Host
}

// start runs a program until the test ends.
func start(ctx context.Context, t *testing.T, cmd *exec.Cmd) io.Reader {
	t.Helper()
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	return out
}

// server is Prometheus' API.
type server struct{ base string }

// scraping runs a Prometheus that scrapes the address and has our rules.
func scraping(ctx context.Context, t *testing.T, program, target string) server {
	t.Helper()
	rules, err := filepath.Abs("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q, %q]
scrape_configs: [{job_name: shop, static_configs: [{targets: [%q]}]}]
`, filepath.Join(rules, "recording.yml"), filepath.Join(rules, "alerts.yml"), target)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	start(ctx, t, exec.CommandContext(ctx, program, "--config.file", filepath.Join(dir, "prometheus.yml"), "--log.level=error",
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", addr, "--enable-feature=exemplar-storage"))
	s := server{"http://" + addr}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := s.query(ctx, "1"); err == nil {
			return s
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("Prometheus does not answer")
		}
	}
}

// query returns how many series an expression has that are numbers.
func (s server) query(ctx context.Context, expr string) (series int, err error) {
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := s.get(ctx, "/api/v1/query?"+url.Values{"query": {expr}}.Encode(), &answer); err != nil {
		return 0, err
	}
	if answer.Error != "" {
		return 0, fmt.Errorf("%s: %s", expr, answer.Error)
	}
	if answer.Data.ResultType == "scalar" {
		return 1, nil
	}
	var all []struct {
		Value [2]any `json:"value"`
	}
	if err := json.Unmarshal(answer.Data.Result, &all); err != nil {
		return 0, err
	}
	for _, one := range all {
		if one.Value[1] != "NaN" {
			series++
		}
	}
	return series, nil
}

// rules fails the test if Prometheus can not evaluate one of ours.
func (s server) rules(ctx context.Context, t *testing.T) {
	t.Helper()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct {
					Name      string `json:"name"`
					Health    string `json:"health"`
					LastError string `json:"lastError"`
				} `json:"rules"`
			} `json:"groups"`
		} `json:"data"`
	}
	if err := s.get(ctx, "/api/v1/rules", &answer); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			if n++; r.Health == "err" {
				t.Errorf("rule %s: %s", r.Name, r.LastError)
			}
		}
	}
	if n < 15 {
		t.Errorf("%d rules are loaded", n)
	}
}

func (s server) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		return err
	}
	res, err := new(http.Client).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into)
}
