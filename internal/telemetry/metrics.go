package telemetry

import (
	"slices"

	"go.opentelemetry.io/otel/attribute"
)

// Kind is what a metric does over time.
type Kind string

// The kinds of metrics.
const (
	// Histogram has the number of durations in each bucket, and their sum.
	Histogram Kind = "histogram"
	// Counter only grows while the process lives.
	Counter Kind = "counter"
	// UpDown goes up and down, and may be summed over processes.
	UpDown Kind = "up-down counter"
	// Gauge goes up and down, and may not be summed.
	Gauge Kind = "gauge"
)

// Metric is a row of the table of metrics: all that there is to know about one.
type Metric struct {
	Name string
	Kind Kind
	// Unit is UCUM's: "s", or what is counted in braces.
	Unit string
	// Labels are all that its series are told apart by. One without a value is
	// left out of a series.
	Labels []attribute.Key
	// Help says what it is, in one sentence or two.
	Help string
	// Buckets are the upper bounds of a histogram's.
	Buckets []float64
}

// Metrics returns the table of metrics. There is no other place for a name, a
// unit, a label or a bucket, and docs/metrics.md is made of it.
//
// To add a metric: its name in names.go, a row here, an instrument or an
// observer that is made from the row by that name (see instruments.go), and
// `go test ./internal/telemetry -run TestDocs -update`. The drill in mesh has to
// make it happen.
func Metrics() []Metric {
	return slices.Concat(callMetrics(), targetMetrics(), configMetrics(), serverMetrics(), accessMetrics(), tlsMetrics())
}

// durationBounds are the bucket boundaries, in seconds, that the conventions
// prescribe for HTTP, used for RPC too so that both can be laid side by side.
var durationBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// queueBounds begin lower: a wait that is long for a queue is short for a call.
var queueBounds = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// callMetrics are those of calls that go out.
func callMetrics() []Metric {
	return []Metric{
		{metricHTTPDuration, Histogram, "s", []attribute.Key{
			attrSource, attrService, attrDestination, attrSubset, attrRoute, attrServer, attrMethod, attrStatus, attrError,
		}, "Time from the start of an HTTP call to its answer, waiting and all attempts included.", durationBounds},
		{metricRPCDuration, Histogram, "s", []attribute.Key{
			attrSource, attrService, attrDestination, attrSubset, attrRoute, attrServer, attrRPCSystem, attrRPCMethod, attrRPCStatus, attrError,
		}, "Duration of a gRPC call to its end, waiting and all attempts included.", durationBounds},
		{metricAttempts, Counter, "{attempt}", []attribute.Key{
			attrSource, attrService, attrDestination, attrSubset, attrRoute, attrProtocol, attrReason, attrKind,
		}, "Attempts by how they ended, and by why they were made: a call has one first attempt, and perhaps retries and hedges.", nil},
		{metricRetries, Counter, "{attempt}", []attribute.Key{
			attrSource, attrService, attrDestination, attrSubset, attrRoute, attrProtocol, attrReason,
		}, "Retries by what was wrong with the attempt before.", nil},
		{metricRetriesRefused, Counter, "{attempt}", []attribute.Key{
			attrSource, attrService, attrDestination, attrSubset, attrRoute, attrProtocol, attrReason,
		}, "Attempts that failed in a way that calls for a retry, and were not followed by one, by the reason why not.", nil},
		{metricBudget, Gauge, "{attempt}", []attribute.Key{attrSource, attrService},
			"Retries and hedges that the retry budget would pay for now; the least of a service's budgets.", nil},
		{metricInflight, UpDown, "{attempt}", []attribute.Key{attrSource, attrService}, "Attempts under way.", nil},
		{metricInjections, Counter, "{attempt}", []attribute.Key{attrSource, attrService, attrInjected},
			"Attempts that trouble was made for on purpose, by the name of the injection.", nil},
		{metricMirrored, Counter, "{call}", []attribute.Key{attrSource, attrService, attrDestination, attrSubset, attrResult},
			"Copies of calls by how they ended, or why they were not sent. No other metric has to do with them.", nil},
	}
}

// targetMetrics are those of what calls go to.
func targetMetrics() []Metric {
	return []Metric{
		{metricQueueDuration, Histogram, "s", []attribute.Key{attrSource, attrService, attrDestination, attrSubset},
			"Time that calls stood in line for a limit; those that were let in at once are not in it.", queueBounds},
		{metricShed, Counter, "{call}", []attribute.Key{attrSource, attrService, attrDestination, attrSubset, attrLimit},
			"Calls that a limit kept back.", nil},
		{metricLimit, UpDown, "{call}", []attribute.Key{attrSource, attrService, attrDestination, attrSubset, attrLimit},
			"How many calls may be under way at once, as the limit stands now.", nil},
		{metricLimitUsed, UpDown, "{call}", []attribute.Key{attrSource, attrService, attrDestination, attrSubset, attrLimit},
			"Calls under way that count for the limit.", nil},
		{metricLimitQueued, UpDown, "{call}", []attribute.Key{attrSource, attrService, attrDestination, attrSubset, attrLimit},
			"Calls that stand in line for the limit.", nil},
		{metricConnections, UpDown, "{connection}", []attribute.Key{attrSource, attrService, attrDestination, attrSubset, attrState},
			"Connections to instances, by whether they carry something; those that are being made, and all of gRPC's, count as active.", nil},
		{metricInstances, UpDown, "{instance}", []attribute.Key{attrSource, attrService, attrDestination, attrSubset, attrState},
			"Instances that discovery knows, by whether they are called, and if not why.", nil},
		{metricBreaker, Counter, "{change}", []attribute.Key{attrSource, attrService, attrDestination, attrSubset, attrState},
			"Changes of state of the instances' circuit breakers, by the state that was entered.", nil},
		{metricBreakerState, UpDown, "{instance}", []attribute.Key{attrSource, attrService, attrDestination, attrSubset, attrState},
			"Instances by the state of their circuit breaker.", nil},
		{metricEjections, Counter, "{ejection}", []attribute.Key{attrSource, attrService, attrDestination, attrSubset, attrCause},
			"Ejections of instances that did worse than the others, by cause.", nil},
	}
}

// configMetrics are those of what steers calls.
func configMetrics() []Metric {
	return []Metric{
		{metricConfig, Counter, "{update}", []attribute.Key{attrSource, attrService, attrResult},
			"Policy documents that were applied or refused; a document for all services has no service.", nil},
		{metricConfigAge, Gauge, "s", []attribute.Key{attrSource, attrService},
			"Time since the policy of a service last changed.", nil},
		{metricConfigSilence, Gauge, "s", []attribute.Key{attrSource, attrSubject},
			"For how long a source of instances or of policies has not answered, the longest of all; 0 while they do.", nil},
		{metricConfigRefused, UpDown, "{document}", []attribute.Key{attrSource},
			"Policy documents that are refused as they are now, so that an older state is in force.", nil},
	}
}

// serverMetrics are those of calls that come in.
func serverMetrics() []Metric {
	return []Metric{
		{metricGuarded, Counter, "{request}", []attribute.Key{attrSource, attrResult},
			"Requests with an idempotency key by what became of them.", nil},
		{metricHTTPServed, Histogram, "s", []attribute.Key{attrSource, attrMethod, attrPattern, attrStatus, attrError},
			"Time from the head of an HTTP request that came in to the end of its answer.", durationBounds},
		{metricRPCServed, Histogram, "s", []attribute.Key{attrSource, attrRPCSystem, attrRPCMethod, attrRPCStatus, attrError},
			"Duration of a gRPC call that came in.", durationBounds},
		{metricServing, UpDown, "{call}", []attribute.Key{attrSource}, "Calls that are being served.", nil},
		{metricTurnedAway, Counter, "{call}", []attribute.Key{attrSource, attrProtocol, attrReason},
			"Calls that came in and were turned away before their handler saw them.", nil},
	}
}

// tlsMetrics are those of secured connections.
func tlsMetrics() []Metric {
	return []Metric{
		{metricTLSRefusals, Counter, "{handshake}", []attribute.Key{attrSource, attrRole, attrReason},
			"Peers that were refused in the handshake, by the end that did and the reason.", nil},
		{metricTLSPlaintext, Counter, "{connection}", []attribute.Key{attrSource},
			"Connections that were let in without TLS, while the mode is permissive.", nil},
		{metricTLSExpiry, Gauge, "s", []attribute.Key{attrSource},
			"How long this program's certificate lasts; 0 when it has expired.", nil},
	}
}
