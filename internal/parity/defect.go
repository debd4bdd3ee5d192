package parity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/hashicorp/consul/api"
)

// What Consul 1.22.3 does otherwise than it documents.
const (
	// PrefixStripped is GH-23035, in 1.22.1 to 1.22.5: a route with a destination
	// and no PrefixRewrite loses its PathPrefix, as if "/" had been asked for. The
	// route that Consul adds at the end is such a one, and there it merges leading
	// slashes. Exact paths and expressions stay.
	PrefixStripped = "GH-23035: prefix stripped"
	// ExactKept is the PrefixRewrite "/" of a PathExact, which does nothing instead
	// of making the path "/".
	ExactKept = "exact path not rewritten to /"
	// SentAsZero is a parameter of a balancer that nobody set and that is sent as
	// 0, because its neighbour was set. Envoy refuses a ring that may have at most 0
	// entries, and finds nobody in one of at least 0.
	SentAsZero = "parameter of the balancer sent as 0"
)

// Defect is one place where Consul serves something else than it documents.
type Defect struct {
	// ID is one of the constants.
	ID string
	// Route is the index in [Upstream.Routes]. -1: it is about a cluster.
	Route int
	// Rewrite is that of the route as it should be.
	Rewrite string `json:",omitempty"`
	// Cluster is a key of [Upstream.Clusters].
	Cluster string `json:",omitempty"`
}

// Documented returns u as it would be without its defects; u stays as it is.
func (u *Upstream) Documented() *Upstream {
	out := *u
	out.Defects = nil
	out.Routes = slices.Clone(u.Routes)
	out.Clusters = maps.Clone(u.Clusters)
	for _, d := range u.Defects {
		if d.Route >= 0 {
			out.Routes[d.Route].Rewrite = d.Rewrite
			continue
		}
		c := out.Clusters[d.Cluster]
		c.Levels = slices.Clone(c.Levels)
		for i, l := range c.Levels {
			c.Levels[i].Balancer = l.Balancer.documented()
		}
		out.Clusters[d.Cluster] = c
	}
	return &out
}

// documented returns b with Envoy's defaults where Consul sent 0.
func (b Balancer) documented() Balancer {
	switch b.Policy {
	case "ring_hash":
		b.MinRing, b.MaxRing = cmp.Or(b.MinRing, 1024), cmp.Or(b.MaxRing, 8<<20)
	case "least_request":
		b.Choices = cmp.Or(b.Choices, 2)
	}
	return b
}

// judge marks the defects of u.
func (o *Oracle) judge(ctx context.Context, u *Upstream) error {
	for _, key := range slices.Sorted(maps.Keys(u.Clusters)) {
		for _, l := range u.Clusters[key].Levels {
			if l.Balancer != l.Balancer.documented() {
				u.Defects = append(u.Defects, Defect{ID: SentAsZero, Route: -1, Cluster: key})
				break // one mark is for all levels
			}
		}
	}
	return o.judgeRoutes(ctx, u)
}

// judgeRoutes compares the routes of u with what the router says.
func (o *Oracle) judgeRoutes(ctx context.Context, u *Upstream) error {
	entry, _, err := o.client.ConfigEntries().Get(api.ServiceRouter, u.Service, (&api.QueryOptions{}).WithContext(ctx))
	if status, ok := asStatus(err); ok && status.Code == http.StatusNotFound {
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
		var written string
		if i < len(router.Routes) {
			if d := router.Routes[i].Destination; d != nil {
				written = d.PrefixRewrite
			}
		}
		switch {
		case r.Rewrite == written:
		case written == "" && r.Rewrite == "/":
			u.Defects = append(u.Defects, Defect{ID: PrefixStripped, Route: i})
		case written == "/" && r.Rewrite == "" && r.Match.Path.Kind == Exact:
			u.Defects = append(u.Defects, Defect{ID: ExactKept, Route: i, Rewrite: written})
		default:
			return fmt.Errorf("%s: route %d rewrites to %q, but %q is written", u.Service, i, r.Rewrite, written)
		}
	}
	return nil
}

func asStatus(err error) (api.StatusError, bool) { return errors.AsType[api.StatusError](err) }
