package cluster

import (
	"time"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/discovery"
)

// Status is a cluster as it stands, for people and tests.
type Status struct {
	// Error says why nobody can be called, if so.
	Error error
	// Instances are all that discovery knows, critical ones too, by ID.
	Instances []InstanceStatus
}

// InstanceStatus is one instance as it stands. The counts are since the process
// came to know it.
type InstanceStatus struct {
	Instance           discovery.Instance
	Inflight           int
	Attempts, Failures uint64
	P50, P99           time.Duration
	// Breaker is the state of the instance's circuit breaker, closed if it has
	// none.
	Breaker breaker.State
}

// Status describes the cluster now.
func (c *Cluster) Status() Status {
	s := Status{Error: c.View().Error()}
	for _, m := range c.sorted() {
		i := InstanceStatus{
			Instance: m.Instance(), Inflight: m.load.Inflight(),
			Attempts: m.attempts.Load(), Failures: m.failures.Load(),
			P50: m.latency.Quantile(0.5), P99: m.latency.Quantile(0.99),
		}
		if guard := m.guard.Load(); guard != nil {
			i.Breaker, _ = guard.State()
		}
		s.Instances = append(s.Instances, i)
	}
	return s
}
