package mesh

import (
	"time"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/discovery"
)

// Upstream is a service that this program calls, as it stands.
type Upstream struct {
	// Service is its logical name.
	Service string
	// Error says why nobody can be called, if so.
	Error error
	// Retries are the attempts that were not the first of their call, since
	// this program came to know the service.
	Retries uint64
	// Instances are all that discovery knows, critical ones too: those of the
	// service's targets one after the other, each by ID.
	Instances []UpstreamInstance
}

// UpstreamInstance is one instance of an upstream. The counts are since this
// program came to know it.
type UpstreamInstance struct {
	// Target is the set of instances it belongs to: the service itself, or what
	// its routes lead to. Mirror says that it is sent nothing but copies of calls.
	Target   string
	Mirror   bool
	Instance discovery.Instance
	// Inflight is how many attempts are under way to it.
	Inflight int
	// Utilization is how much of what it can carry it has said of late that it
	// carries, for all of its callers, 1 being all; 0 if it does not say.
	Utilization float64
	// Attempts have been answered or given up; Failures are those among them
	// that count against the instance.
	Attempts, Failures uint64
	// P50 and P99 are how long answers have taken.
	P50, P99 time.Duration
	// Breaker is the state of its circuit breaker.
	Breaker breaker.State
}

// Upstreams describes the services that this program has called lately, by
// name.
func (m *Mesh) Upstreams() []Upstream {
	var all []Upstream
	for _, up := range m.directory.All() {
		u := Upstream{Service: up.Service, Retries: up.Retries()}
		for i, c := range up.Clusters() {
			s := c.Status()
			if i == 0 {
				u.Error = s.Error
			}
			for _, i := range s.Instances {
				u.Instances = append(u.Instances, UpstreamInstance{
					Target: c.Target.String(), Mirror: c.IsMirror(), Instance: i.Instance, Inflight: i.Inflight, Utilization: i.Utilization,
					Attempts: i.Attempts, Failures: i.Failures, P50: i.P50, P99: i.P99, Breaker: i.Breaker,
				})
			}
		}
		all = append(all, u)
	}
	return all
}
