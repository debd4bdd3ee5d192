package cluster

import (
	"context"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/policy"
)

// limits bound what goes to the instances of a target at once, all together.
// They go on, with who is under way, as long as their terms are the same.
type limits struct {
	terms       limitTerms
	requests    gate
	connections gate
}

// limitTerms are what limits are made of.
type limitTerms struct {
	policy.Limits
	http1 bool // a connection carries one call at a time
}

// gate is a bulkhead, or one that nobody passes, or none.
type gate struct {
	*limit.Bulkhead
	shut *limit.FullError
}

func newLimits(name string, terms limitTerms) *limits {
	l := &limits{terms: terms, requests: newGate(name+" requests", terms.Concurrency, policy.None)}
	if terms.http1 {
		l.connections = newGate(name+" connections", terms.Connections, terms.Pending)
	}
	return l
}

func newGate(name string, most, queue policy.Limit) gate {
	n, bounded := most.Bound()
	switch {
	case !bounded:
		return gate{}
	case n == 0:
		return gate{shut: &limit.FullError{Name: name}}
	}
	o := limit.BulkheadOptions{Limit: n, Wait: forever}
	if waiting, bounded := queue.Bound(); bounded {
		o.Queue = waiting
	} else {
		o.Queue = unbounded
	}
	return gate{Bulkhead: limit.NewBulkhead(name, o)}
}

const (
	forever   = 24 * time.Hour // a call that waits is bounded by its own time
	unbounded = 1 << 30
)

// Admission is a call that was let in.
type Admission struct{ request, connection limit.Leave }

// Done lets others in.
func (a Admission) Done(r call.Reason) {
	a.request.Done(r)
	a.connection.Done(r)
}

// Bounded says whether calls have to be admitted at all.
func (c *Cluster) Bounded() bool {
	l := c.limits.Load()
	return l.requests != (gate{}) || l.connections != (gate{})
}

// Admit lets a call in, or says that there are too many: of those that are
// under way, and over HTTP/1.1 of connections, for which a call may wait.
func (c *Cluster) Admit(ctx context.Context, p call.Protocol) (a Admission, err error) {
	l := c.limits.Load()
	if a.request, err = l.requests.enter(ctx); err != nil {
		return Admission{}, err
	}
	if p == call.HTTP {
		if a.connection, err = l.connections.enter(ctx); err != nil {
			a.request.Done(call.Rejected)
			return Admission{}, err
		}
	}
	return a, nil
}

func (g gate) enter(ctx context.Context) (limit.Leave, error) {
	switch {
	case g.shut != nil:
		return limit.Leave{}, g.shut
	case g.Bulkhead == nil:
		return limit.Leave{}, nil
	default:
		return g.Enter(ctx)
	}
}

// bound puts the limits of a policy in force.
func (c *Cluster) bound(p policy.Effective) {
	terms := limitTerms{p.Limits, p.HTTP.Protocol != policy.HTTP2}
	if old := c.limits.Load(); old == nil || old.terms != terms {
		c.limits.Store(newLimits(c.Target.String(), terms))
	}
}
