package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/policy"
)

// limits bound what goes to the instances of a target at once, all together.
// They go on, with who is under way, as long as their terms are the same.
type limits struct {
	terms       limitTerms
	requests    gate
	shut        *limit.FullError // no key has a place
	keyed       *limit.Bulkheads // nil is any
	connections gate
	rate        *limit.Rate  // nil is any
	rates       *limit.Rates // by key
	adaptive    *limit.Adaptive
}

// limitTerms are what limits are made of.
type limitTerms struct {
	connections, pending, concurrency policy.Limit
	perSecond                         float64
	burst                             int
	wait                              policy.Duration
	keyed                             bool
	bulkhead                          bulkheadTerms
	adaptive                          policy.Adaptive
	http1                             bool // a connection carries one call at a time
}

func newLimitTerms(p policy.Effective) limitTerms {
	l := p.Limits
	return limitTerms{
		connections: l.Connections, pending: l.Pending, concurrency: l.Concurrency,
		perSecond: l.Rate.PerSecond, burst: l.Rate.Burst, wait: l.Rate.Wait, keyed: len(l.Rate.By) > 0,
		bulkhead: bulkheadTerms{l.Bulkhead.Max, l.Bulkhead.Queue, l.Bulkhead.Wait},
		adaptive: l.Adaptive, http1: p.HTTP.Protocol != policy.HTTP2,
	}
}

// bulkheadTerms are what bulkheads of keys are made of.
type bulkheadTerms struct {
	most, queue policy.Limit
	wait        policy.Duration
}

// gate is a bulkhead, or one that nobody passes, or none.
type gate struct {
	*limit.Bulkhead
	shut *limit.FullError
}

func newLimits(name string, terms limitTerms) *limits {
	l := &limits{terms: terms, requests: newGate(name+" requests", terms.concurrency, policy.None)}
	if o, bounded := terms.bulkhead.options(); bounded && o.Limit == 0 {
		l.shut = &limit.FullError{Name: name}
	} else if bounded {
		l.keyed = limit.NewBulkheads(name, o, 0)
	}
	if terms.http1 {
		l.connections = newGate(name+" connections", terms.connections, terms.pending)
	}
	if terms.perSecond > 0 {
		o := limit.RateOptions{PerSecond: terms.perSecond, Burst: max(terms.burst, 0), Wait: time.Duration(max(terms.wait, 0))}
		if terms.keyed {
			l.rates = limit.NewRates(name, o, 0)
		} else {
			l.rate = limit.NewRate(name, o)
		}
	}
	if most, bounded := terms.adaptive.Max.Bound(); bounded {
		l.adaptive = limit.NewAdaptive(name, limit.AdaptiveOptions{
			Min: terms.adaptive.Min, Max: most, Tolerance: terms.adaptive.Tolerance, Interval: time.Duration(terms.adaptive.Interval),
		})
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
	return gate{Bulkhead: limit.NewBulkhead(name, limit.BulkheadOptions{Limit: n, Queue: room(queue), Wait: forever})}
}

func (t bulkheadTerms) options() (o limit.BulkheadOptions, bounded bool) {
	o.Limit, bounded = t.most.Bound()
	if t.wait > 0 { // else nobody waits
		o.Queue, o.Wait = room(t.queue), time.Duration(t.wait)
	}
	return o, bounded
}

// room is how many may stand in line.
func room(queue policy.Limit) int {
	if n, bounded := queue.Bound(); bounded {
		return n
	}
	return unbounded
}

const (
	forever   = 24 * time.Hour // a call that waits is bounded by its own time
	unbounded = 1 << 30
)

// Admission is a call that was let in.
type Admission struct{ request, keyed, connection, load limit.Leave }

// Answered tells how the call went, as far as that says how much its callee can
// carry: the reading of an answer is the caller's time.
func (a *Admission) Answered(r call.Reason) {
	a.load.Done(r)
	a.load = limit.Leave{}
}

// Done lets others in.
func (a *Admission) Done(r call.Reason) {
	a.Answered(r)
	a.request.Done(r)
	a.keyed.Done(r)
	a.connection.Done(r)
}

// Bounded says whether calls have to be admitted at all.
func (c *Cluster) Bounded() bool {
	l := c.limits.Load()
	return l.requests != (gate{}) || l.connections != (gate{}) || l.shut != nil || l.keyed != nil ||
		l.rate != nil || l.rates != nil || l.adaptive != nil
}

// Entry is what limits look at in a call.
type Entry struct {
	Protocol call.Protocol
	Stream   bool
	// Key and RateKey are what it has its bulkhead and its rate by.
	Key, RateKey string
	// Priority says how much it matters.
	Priority limit.Priority
}

// Admit lets a call in, or says that there are too many: of those that are
// under way, and over HTTP/1.1 of connections, for which a call may wait. What
// costs nothing to refuse comes first, so that no token is spent on a call that
// is refused after all; load is looked at last, when the waiting is over.
func (c *Cluster) Admit(ctx context.Context, e Entry) (a Admission, err error) {
	l, began, at := c.limits.Load(), mono.Now(), Concurrency
	var pace limit.Leave
	defer func() {
		c.tell(ctx, at, began, a.request.Waited()+a.keyed.Waited()+a.connection.Waited()+pace.Waited(), err)
		if err != nil {
			a.Done(call.Rejected)
			a = Admission{}
		}
	}()
	if a.request, err = l.requests.enter(ctx); err != nil {
		return Admission{}, err
	}
	at = Keyed
	switch {
	case l.shut != nil:
		return a, l.shut
	case l.keyed != nil:
		if a.keyed, err = l.keyed.Enter(ctx, e.Key); err != nil {
			return a, err
		}
	}
	if e.Protocol == call.HTTP {
		at = Connections
		if a.connection, err = l.connections.enter(ctx); err != nil {
			return a, err
		}
	}
	at = Rate
	switch {
	case l.rate != nil:
		pace, err = l.rate.Enter(ctx)
	case l.rates != nil:
		pace, err = l.rates.Enter(ctx, e.RateKey)
	}
	if err == nil && l.adaptive != nil && !e.Stream {
		at = Adaptive
		a.load, err = l.adaptive.Enter(ctx, e.Priority)
	}
	return a, err
}

// tell records how a call fared that asked to be let in: for how long it stood in
// line, or at which limit it was kept back.
func (c *Cluster) tell(ctx context.Context, at string, began, waited time.Duration, err error) {
	full, isFull := errors.AsType[*limit.FullError](err)
	if waited > 0 || err != nil && ctx.Err() != nil || isFull && full.Waited > 0 {
		c.tel.Queued(ctx, mono.Now()-began)
	}
	if err != nil {
		c.tel.Shed(ctx, at)
	}
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
	c.quota.bound(c.Target.String(), p.Limits)
	terms := newLimitTerms(p)
	if old := c.limits.Load(); old == nil || old.terms != terms {
		c.limits.Store(newLimits(c.Target.String(), terms))
	}
}
