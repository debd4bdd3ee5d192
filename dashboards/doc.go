// Command dashboards writes the Grafana dashboards of the mesh, made of the metrics
// in docs/metrics.md, into the folder grafana. `make dashboards` runs it and checks
// them, and the rules in the folder prometheus, against a real Prometheus.
package main
