package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// accessMetrics are those of who may call.
func accessMetrics() []Metric {
	return []Metric{
		{metricDecisions, Counter, "{call}", []attribute.Key{attrSource, attrResult, attrReason},
			"Decisions about whether a caller may do what it asks, by what they rest on.", nil},
		{metricAuditLost, Counter, "{record}", []attribute.Key{attrSource},
			"Records of such decisions that could not be kept.", nil},
	}
}

// Access is how decisions stand when metrics are collected.
type Access struct{ tell teller }

// ObserveAccess has each called when metrics are collected, to tell what was
// decided about callers. stop ends that.
func (t *Telemetry) ObserveAccess(each func(Access)) (stop func() error, err error) {
	return t.observe(func(tell teller) { each(Access{tell}) }, metricDecisions, metricAuditLost)
}

// Decided tells how often a decision with that result rested on that.
func (a Access) Decided(result, reason string, n uint64) {
	a.tell(metricDecisions, float64(n), attrResult.String(result), attrReason.String(reason))
}

// Lost tells how many records of the audit were lost.
func (a Access) Lost(n uint64) { a.tell(metricAuditLost, float64(n)) }

// TraceID is that of the trace that a context belongs to, "" if there is none.
func TraceID(ctx context.Context) string {
	if c := trace.SpanContextFromContext(ctx); c.HasTraceID() {
		return c.TraceID().String()
	}
	return ""
}
