package parity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/consul/api"
)

// What Consul 1.22.3 does otherwise than it documents.
const (
	// PrefixStripped is GH-23035, in 1.22.1 to 1.22.5: a route with a destination
	// and no PrefixRewrite loses its PathPrefix, as if "/" had been asked for. The
	// route that Consul adds at the end is such a one, where it only merges leading
	// slashes.
	PrefixStripped = "GH-23035"
	// ExactKept is the PrefixRewrite "/" of a PathExact, which does nothing instead
	// of making the path "/".
	ExactKept = "exact path is not rewritten to /"
)

// Defect is one place where Consul serves something else than it documents.
type Defect struct {
	// ID is [PrefixStripped] or [ExactKept].
	ID string
	// Route is the index in [Upstream.Routes].
	Route int
	// Documented is the rewrite of that route as it should be. Nil: none.
	Documented *Rewrite
}

// Documented returns u as it would be without its defects; u stays as it is.
func (u *Upstream) Documented() *Upstream {
	out := *u
	out.Defects = nil
	out.Routes = append([]Route(nil), u.Routes...)
	for _, d := range u.Defects {
		out.Routes[d.Route].Rewrite = d.Documented
	}
	return &out
}

// A rewrite that takes the prefix off is "^prefix" and this, with or without
// ignoring the case.
const stripSuffix, stripTo = "(/?)(.*)", `/\2`

// judge marks the defects of u by what the router says.
func (o *Oracle) judge(ctx context.Context, u *Upstream) error {
	entry, _, err := o.client.ConfigEntries().Get(api.ServiceRouter, u.Service, (&api.QueryOptions{}).WithContext(ctx))
	if status, ok := asStatus(err); ok && status == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the router of %s: %w", u.Service, err)
	}
	router, ok := entry.(*api.ServiceRouterConfigEntry)
	if !ok {
		return fmt.Errorf("read the router of %s: it is a %T", u.Service, entry)
	}
	if len(u.Routes) == 0 {
		return nil // the caller takes the service for a tcp one
	}
	// Consul adds one, for everything that is left.
	if len(u.Routes) != len(router.Routes)+1 {
		return fmt.Errorf("%s: %d routes served for %d written", u.Service, len(u.Routes), len(router.Routes))
	}
	for i, r := range u.Routes {
		if r.Rewrite == nil || r.Rewrite.Substitution != stripTo || !strings.HasSuffix(r.Rewrite.Regex, stripSuffix) {
			continue
		}
		switch {
		case i == len(router.Routes), router.Routes[i].Destination.PrefixRewrite == "":
			u.Defects = append(u.Defects, Defect{ID: PrefixStripped, Route: i})
		case r.Match.Path.Kind == Exact:
			u.Defects = append(u.Defects, Defect{ID: ExactKept, Route: i, Documented: &Rewrite{Prefix: "/"}})
		}
	}
	return nil
}

func asStatus(err error) (code int, ok bool) {
	status, ok := errors.AsType[api.StatusError](err)
	return status.Code, ok
}
