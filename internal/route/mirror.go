package route

import (
	"cmp"
	"fmt"
	"math/rand/v2"

	"github.com/innermesh/innermesh/policy"
)

// Mirror is where copies of a route's calls go.
type Mirror struct {
	// Mirror is what the policy says of it, with its defaults.
	policy.Mirror
	// Way is the route as copies take it: to the one target, without trouble made
	// on purpose, and copied no further.
	Way *Route

	hundredths int
}

// mirror takes over where the route's calls are copied to.
func (r *Route) mirror(service string, p policy.Effective) {
	for i, said := range r.Policy.Mirror {
		path := fmt.Sprintf("mirror[%d]", i)
		if r.Number < len(p.Routes) {
			path = fmt.Sprintf("routes[%d].%s", r.Number, path)
		}
		m := &Mirror{Mirror: said.WithDefaults(), hundredths: said.Hundredths()}
		m.Service = cmp.Or(said.Service, service)
		way := *r
		leg := &Leg{Weight: whole, Targets: []Target{resolve(service, p, path, said.Target())}}
		leg.keys()
		way.Injector, way.Mirrors, way.Legs, way.whole = nil, nil, []*Leg{leg}, whole
		m.Way = &way
		r.Mirrors = append(r.Mirrors, m)
	}
}

// Draw says whether a call is copied.
func (m *Mirror) Draw() bool { return m.hundredths >= whole || rand.IntN(whole) < m.hundredths }
