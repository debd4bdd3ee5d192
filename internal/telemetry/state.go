package telemetry

import (
	"slices"

	"go.opentelemetry.io/otel/attribute"
)

// State is what a mesh stands at when metrics are collected.
type State struct{ tell teller }

// ObserveState has each called when metrics are collected, to tell what the
// mesh stands at. stop ends that.
func (t *Telemetry) ObserveState(each func(s State)) (stop func() error, err error) {
	return t.observe(func(tell teller) { each(State{tell}) },
		metricInflight, metricBudget, metricLimit, metricLimitUsed, metricLimitQueued,
		metricConnections, metricInstances, metricBreakerState, metricConfigAge, metricConfigRefused, metricConfigSilence)
}

// Inflight tells how many attempts are under way to a service.
func (s State) Inflight(service string, n int) {
	s.tell(metricInflight, float64(n), attrService.String(service))
}

// Budget tells how many further attempts a service's retry budget would pay for.
func (s State) Budget(service string, left float64) {
	s.tell(metricBudget, left, attrService.String(service))
}

// ConfigAge tells how long the policy of a service has been as it is.
func (s State) ConfigAge(service string, seconds float64) {
	s.tell(metricConfigAge, seconds, attrService.String(service))
}

// ConfigRefused tells how many documents are refused.
func (s State) ConfigRefused(n int) { s.tell(metricConfigRefused, float64(n)) }

// ConfigSilence tells for how long a source of instances or of policies has not
// answered.
func (s State) ConfigSilence(subject string, seconds float64) {
	s.tell(metricConfigSilence, seconds, attrSubject.String(subject))
}

// Limit is how a limit stands. Max is negative if there is none, Queued if
// nobody stands in line for such a limit.
type Limit struct {
	Name              string
	Max, Used, Queued int
}

// Limit tells how a limit on calls to a target stands.
func (s State) Limit(of *Target, l Limit) {
	labels := of.with(attrLimit.String(l.Name))
	s.tell(metricLimit, float64(l.Max), labels...)
	s.tell(metricLimitUsed, float64(l.Used), labels...)
	if l.Queued >= 0 {
		s.tell(metricLimitQueued, float64(l.Queued), labels...)
	}
}

// Connections tells how many connections there are to the instances of a target,
// and how many of them carry nothing.
func (s State) Connections(of *Target, open, idle int) {
	s.tell(metricConnections, float64(max(open-idle, 0)), of.with(attrState.String("active"))...)
	s.tell(metricConnections, float64(idle), of.with(attrState.String("idle"))...)
}

// Instances tells how many instances of a target are in a state.
func (s State) Instances(of *Target, state string, n int) {
	s.tell(metricInstances, float64(n), of.with(attrState.String(state))...)
}

// Breakers tells how many instances of a target have a breaker in a state.
func (s State) Breakers(of *Target, state string, n int) {
	s.tell(metricBreakerState, float64(n), of.with(attrState.String(state))...)
}

func (o *Target) with(more attribute.KeyValue) []attribute.KeyValue {
	return append(slices.Clip(o.labels), more)
}
