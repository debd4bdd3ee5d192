// Package telemetry is the one door to OpenTelemetry: every metric, attribute
// and span of innermesh is named and recorded here. Attribute sets are prepared
// once per series; recording takes no lock and allocates nothing.
package telemetry

import "go.opentelemetry.io/otel/attribute"

// scope names the instrumentation to OpenTelemetry.
const scope = "github.com/innermesh/innermesh"

// The metrics. Each has its row in the table, see metrics.go.
const (
	metricHTTPDuration   = "http.client.request.duration"
	metricRPCDuration    = "rpc.client.call.duration"
	metricAttempts       = "innermesh.client.attempts"
	metricRetries        = "innermesh.client.retries"
	metricRetriesRefused = "innermesh.client.retry.refusals"
	metricBudget         = "innermesh.client.retry.budget"
	metricInflight       = "innermesh.client.inflight"
	metricQueueDuration  = "innermesh.client.queue.duration"
	metricShed           = "innermesh.client.shed"
	metricLimit          = "innermesh.client.limit.max"
	metricLimitUsed      = "innermesh.client.limit.used"
	metricLimitQueued    = "innermesh.client.limit.queued"
	metricConnections    = "innermesh.client.connections"
	metricInstances      = "innermesh.client.instances"
	metricMirrored       = "innermesh.client.mirrored"
	metricInjections     = "innermesh.client.injections"
	metricBreaker        = "innermesh.breaker.changes"
	metricBreakerState   = "innermesh.breaker.instances"
	metricEjections      = "innermesh.ejections"
	metricConfig         = "innermesh.config.updates"
	metricConfigAge      = "innermesh.config.age"
	metricConfigSilence  = "innermesh.config.silence"
	metricConfigRefused  = "innermesh.config.refused"
	metricGuarded        = "innermesh.idempotency.requests"
	metricHTTPServed     = "http.server.request.duration"
	metricRPCServed      = "rpc.server.call.duration"
	metricServing        = "innermesh.server.inflight"
	metricTurnedAway     = "innermesh.server.refused"
	metricDecisions      = "innermesh.authz.decisions"
	metricAuditLost      = "innermesh.audit.lost"
	metricTLSRefusals    = "innermesh.tls.refusals"
	metricTLSPlaintext   = "innermesh.tls.plaintext"
	metricTLSExpiry      = "innermesh.tls.expiry"
)

// The attributes. Names that OpenTelemetry's conventions define keep them.
const (
	attrMethod      = attribute.Key("http.request.method")
	attrStatus      = attribute.Key("http.response.status_code")
	attrPattern     = attribute.Key("http.route")
	attrResend      = attribute.Key("http.request.resend_count")
	attrRPCSystem   = attribute.Key("rpc.system.name")
	attrRPCMethod   = attribute.Key("rpc.method")
	attrRPCStatus   = attribute.Key("rpc.response.status_code")
	attrServer      = attribute.Key("server.address")
	attrPeer        = attribute.Key("network.peer.address")
	attrError       = attribute.Key("error.type")
	attrSource      = attribute.Key("innermesh.source")
	attrService     = attribute.Key("innermesh.service")
	attrInstance    = attribute.Key("innermesh.instance")
	attrReason      = attribute.Key("innermesh.reason")
	attrRole        = attribute.Key("innermesh.role")
	attrDestination = attribute.Key("innermesh.destination")
	attrSubset      = attribute.Key("innermesh.subset")
	attrRoute       = attribute.Key("innermesh.route")
	attrProtocol    = attribute.Key("innermesh.protocol")
	attrKind        = attribute.Key("innermesh.kind")
	attrLimit       = attribute.Key("innermesh.limit")
	attrBackoff     = attribute.Key("innermesh.backoff")
	attrCause       = attribute.Key("innermesh.cause")
	attrSubject     = attribute.Key("innermesh.subject")
	attrState       = attribute.Key("innermesh.state")
	attrResult      = attribute.Key("innermesh.result")
	attrSent        = attribute.Key("innermesh.sent")
	attrAttempts    = attribute.Key("innermesh.attempts")
	attrNumber      = attribute.Key("innermesh.attempt")
	attrInjected    = attribute.Key("innermesh.injected")
	attrMirrored    = attribute.Key("innermesh.mirrored")
)

// The events of spans.
const (
	eventRetry        = "retry"
	eventRetryRefused = "retry refused"
	eventHedge        = "hedge"
	eventFault        = "fault"
	eventBreaker      = "breaker"
	eventEjection     = "ejection"
)

// What comes from outside is told apart up to a bound.
const (
	other     = "_OTHER"
	maxSeries = 2000 // distinct series of the calls to one service; all further ones share a few
	maxWays   = 100  // distinct ways to one service; the same
)
