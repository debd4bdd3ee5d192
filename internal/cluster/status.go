package cluster

import (
	"fmt"
	"time"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/mono"
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
	Utilization        float64
	Attempts, Failures uint64
	P50, P99           time.Duration
	// Breaker is the state of the instance's circuit breaker, closed if it has
	// none.
	Breaker breaker.State
	// Out says why the instance is not picked now, empty if it may be.
	Out string
}

// Status describes the cluster now.
func (c *Cluster) Status() Status {
	s, now := Status{Error: c.View().Error()}, mono.Now()
	for m, instance := range c.known() {
		s.Instances = append(s.Instances, c.instanceStatus(m, instance, now))
	}
	return s
}

// instanceStatus describes an instance, and its member if it is called.
func (c *Cluster) instanceStatus(m *Member, instance discovery.Instance, now time.Duration) InstanceStatus {
	if m == nil {
		return InstanceStatus{Instance: instance, Out: "not among those that this process calls"}
	}
	i := InstanceStatus{
		Instance: m.Instance(), Inflight: m.load.Inflight(), Utilization: m.load.Utilization(now),
		Attempts: m.attempts.Load(), Failures: m.failures.Load(),
		P50: m.latency.Quantile(0.5), P99: m.latency.Quantile(0.99),
	}
	if guard := m.guard.Load(); guard != nil {
		i.Breaker, _ = guard.State()
	}
	i.Out = c.out(m, now)
	return i
}

// out says why the member is not picked now.
func (c *Cluster) out(m *Member, now time.Duration) string {
	switch health := m.Instance().Health; {
	case health == discovery.Critical:
		return "its health is critical"
	case health == discovery.Warning && c.Target.OnlyPassing:
		return "its health is warning, and only passing ones are wanted"
	case m.load.Open(now):
		return ""
	}
	until := c.floor.until(m)
	left := func(by door) time.Duration { return max(until[by]-now, 0).Round(time.Millisecond) }
	if left(byEjection) > 0 {
		return fmt.Sprintf("ejected for another %v", left(byEjection))
	}
	return fmt.Sprintf("circuit open for another %v", left(byBreaker))
}
