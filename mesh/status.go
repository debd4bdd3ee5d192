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
	// Instances are all that discovery knows, critical ones too, by ID.
	Instances []UpstreamInstance
}

// UpstreamInstance is one instance of an upstream. The counts are since this
// program came to know it.
type UpstreamInstance struct {
	Instance discovery.Instance
	// Inflight is how many attempts are under way to it.
	Inflight int
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
	for _, c := range m.directory.All() {
		s := c.Status()
		u := Upstream{Service: s.Service, Error: s.Error, Retries: s.Retries}
		for _, i := range s.Instances {
			u.Instances = append(u.Instances, UpstreamInstance(i))
		}
		all = append(all, u)
	}
	return all
}
