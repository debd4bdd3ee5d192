package upstream

import "github.com/innermesh/innermesh/internal/route"

// Permits says why a call that takes that way will be refused where it goes, nil
// if it will not or that is not known.
func (d *Directory) Permits(r *Route, to *Destination, q route.Request) error {
	if d.o.Permit == nil || len(to.Targets) == 0 {
		return nil
	}
	method, path := q.Line()
	if r.Rewrites() {
		path = "" // the callee sees another one
	}
	return d.o.Permit(&to.Targets[0].Target, method, path)
}
