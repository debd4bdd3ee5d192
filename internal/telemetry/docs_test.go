package telemetry

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

const metricsPage = "../../docs/metrics.md"

// The text around the tables of docs/metrics.md.
const (
	pageHead = `# Metrics

<!-- Generated from internal/telemetry/metrics.go and labels.go: go test ./internal/telemetry -run TestDocs -update -->

All metrics that the library records, through OpenTelemetry's metric API: into the provider of mesh.Options.Telemetry, else
into OpenTelemetry's global one. Nothing is recorded until the program sets one. Names, units, labels and buckets are those
of the table and no others; a test compares them with what is emitted.

Where OpenTelemetry's conventions have a metric, it has their name, unit, buckets and attributes, and ours beside. An
exporter to Prometheus makes underscores of dots and adds the unit: ` + "`innermesh.client.attempts`" + ` becomes
` + "`innermesh_client_attempts_total`, `http.client.request.duration` becomes `http_client_request_duration_seconds`" + `.

Histograms and counters of calls carry exemplars, with the ids of the trace and the span, for calls whose trace is sampled;
the SDK does so by default.

| metric | kind | unit | labels |
|---|---|---|---|
`
	pageLabels = `
A label without a value is left out of a series. Labels hold words of configuration and code alone, never paths, addresses,
identifiers or texts of errors. The calls to one service have 2,000 series at most; what is told apart beyond that, such as
gRPC methods that a proxy makes up, is counted together as ` + "`_OTHER`" + `.

| label | holds |
|---|---|
`
)

// docs/metrics.md says what the tables say.
func TestDocs(t *testing.T) {
	page := page()
	if *update {
		if err := os.WriteFile(metricsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	there, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(there) != page {
		t.Errorf("docs/metrics.md is not what the tables say: go test ./internal/telemetry -run TestDocs -update")
	}
}

func page() string {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, m := range Metrics() {
		var labels []string
		for _, l := range m.Labels {
			labels = append(labels, "`"+string(l)+"`")
		}
		fmt.Fprintf(&b, "| `%s`<br>%s | %s | %s | %s |\n", m.Name, m.Help, m.Kind, m.Unit, strings.Join(labels, " "))
	}
	b.WriteString("\n## Buckets\n\n")
	var seen []string
	for _, m := range Metrics() {
		if m.Kind != Histogram {
			continue
		}
		bounds := strings.Trim(fmt.Sprint(m.Buckets), "[]")
		if slices.Contains(seen, bounds) {
			continue
		}
		seen = append(seen, bounds)
		var of []string
		for _, other := range Metrics() {
			if other.Kind == Histogram && slices.Equal(other.Buckets, m.Buckets) {
				of = append(of, "`"+other.Name+"`")
			}
		}
		fmt.Fprintf(&b, "%s: %s seconds.\n\n", strings.Join(of, ", "), bounds)
	}
	b.WriteString("## Labels\n" + pageLabels)
	for _, l := range Labels() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", l.Key, l.Values)
	}
	return b.String()
}

// Each row can be read by itself, and each label is explained.
func TestTableIsWhole(t *testing.T) {
	explained := make(map[string]bool)
	for _, l := range Labels() {
		if explained[string(l.Key)] || l.Values == "" {
			t.Errorf("label %s is explained twice, or not at all", l.Key)
		}
		explained[string(l.Key)] = true
	}
	used, names := make(map[string]bool), make(map[string]bool)
	for _, m := range Metrics() {
		if names[m.Name] {
			t.Errorf("%s is there twice", m.Name)
		}
		names[m.Name] = true
		if m.Unit == "" || !strings.HasSuffix(m.Help, ".") || len(m.Labels) == 0 || (m.Kind == Histogram) != (len(m.Buckets) > 0) {
			t.Errorf("%s lacks something: %+v", m.Name, m)
		}
		if !slices.IsSorted(m.Buckets) {
			t.Errorf("%s: buckets %v", m.Name, m.Buckets)
		}
		for _, l := range m.Labels {
			used[string(l)] = true
			if !explained[string(l)] {
				t.Errorf("%s has the label %s, which labels.go does not explain", m.Name, l)
			}
		}
	}
	for l := range explained {
		if !used[l] {
			t.Errorf("label %s is on no metric", l)
		}
	}
}
