// Package telemetry is the one door to OpenTelemetry: every metric, attribute
// and span of innermesh is named and recorded here. Attribute sets are prepared
// once per series; recording takes no lock and allocates nothing.
package telemetry

import "go.opentelemetry.io/otel/attribute"

// scope names the instrumentation to OpenTelemetry.
const scope = "github.com/innermesh/innermesh"

// The metrics.
const (
	metricHTTPDuration = "http.client.request.duration"
	metricRPCDuration  = "rpc.client.call.duration"
	metricAttempts     = "innermesh.client.attempts"
	metricInflight     = "innermesh.client.inflight"
	metricBreaker      = "innermesh.breaker.changes"
	metricConfig       = "innermesh.config.updates"
	metricInjections   = "innermesh.client.injections"
	metricGuarded      = "innermesh.idempotency.requests"
)

// The attributes. Names that OpenTelemetry's conventions define keep them.
const (
	attrMethod     = attribute.Key("http.request.method")
	attrStatus     = attribute.Key("http.response.status_code")
	attrResend     = attribute.Key("http.request.resend_count")
	attrRPCSystem  = attribute.Key("rpc.system.name")
	attrRPCMethod  = attribute.Key("rpc.method")
	attrRPCStatus  = attribute.Key("rpc.response.status_code")
	attrServer     = attribute.Key("server.address")
	attrPeer       = attribute.Key("network.peer.address")
	attrError      = attribute.Key("error.type")
	attrSource     = attribute.Key("innermesh.source")
	attrService    = attribute.Key("innermesh.service")
	attrInstance   = attribute.Key("innermesh.instance")
	attrReason     = attribute.Key("innermesh.reason")
	attrRetry      = attribute.Key("innermesh.retry")
	attrState      = attribute.Key("innermesh.state")
	attrResult     = attribute.Key("innermesh.result")
	attrSent       = attribute.Key("innermesh.sent")
	attrAttempts   = attribute.Key("innermesh.attempts")
	attrNumber     = attribute.Key("innermesh.attempt")
	attrInjected   = attribute.Key("innermesh.injected")
	otherMethod    = "_OTHER"
	maxSeries      = 2000 // distinct series of one service; all further ones share a last one
	retryEventName = "retry"
	hedgeEventName = "hedge"
)

// durationBounds are the bucket boundaries, in seconds, that the conventions
// prescribe for HTTP, used for RPC too so that both can be laid side by side.
var durationBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
