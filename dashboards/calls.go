package main

import "fmt"

// Calls over HTTP and over gRPC are two metrics with the same buckets, and are read
// as one. No series of the one has the labels of the other.
const (
	outgoing = `http_client_request_duration_seconds_%[1]s|rpc_client_call_duration_seconds_%[1]s`
	incoming = `http_server_request_duration_seconds_%[1]s|rpc_server_call_duration_seconds_%[1]s`
)

// calls is how many calls that fit the filter come and go in a second, by labels.
func calls(metric, filter, by string) string {
	return fmt.Sprintf(`sum by (%s) (rate({__name__=~"%s",%s}[$__rate_interval]))`, by, fmt.Sprintf(metric, "count"), filter)
}

// failures is the part of the calls that has failed, from 0 to 1.
func failures(metric, filter, by string) string {
	return fmt.Sprintf(`(%s or 0 * %s) / %s`,
		calls(metric, filter+`,error_type!=""`, by), calls(metric, filter, by), calls(metric, filter, by))
}

// quantile is what the given part of the calls has taken at most.
func quantile(q float64, metric, filter, by string) string {
	return fmt.Sprintf(`histogram_quantile(%v, sum by (le,%s) (rate({__name__=~"%s",%s}[$__rate_interval])))`,
		q, by, fmt.Sprintf(metric, "bucket"), filter)
}

// perSecond is how often a counter counts, by labels.
func perSecond(counter, filter, by string) string {
	return fmt.Sprintf(`sum by (%s) (rate(%s{%s}[$__rate_interval]))`, by, counter, filter)
}

// now is what a gauge stands at, summed over processes.
func now(gauge, filter, by string) string {
	return fmt.Sprintf(`sum by (%s) (%s{%s})`, by, gauge, filter)
}

// latencies are three lines of one picture.
func latencies(metric, filter string) []query {
	return []query{
		{quantile(0.5, metric, filter, "innermesh_source"), "p50 {{innermesh_source}}"},
		{quantile(0.95, metric, filter, "innermesh_source"), "p95 {{innermesh_source}}"},
		{quantile(0.99, metric, filter, "innermesh_source"), "p99 {{innermesh_source}}"},
	}
}
