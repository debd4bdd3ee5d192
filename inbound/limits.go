package inbound

import (
	"context"
	"slices"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/policy"
)

// name is what limits are called in errors, which callers do not see.
const name = "this program"

// limits are a policy in force.
type limits struct {
	terms    policy.Inbound
	places   gate
	rate     *limit.Rate     // nil is any
	adaptive *limit.Adaptive // nil is any
	shares   []share
}

// newLimits makes the limits of a policy. What is the same in old goes on.
func newLimits(p policy.Inbound, old *limits) *limits {
	l := &limits{terms: p}
	if old == nil {
		old = &limits{}
	}
	if l.places = old.places; p.Concurrency != old.terms.Concurrency || p.Queue != old.terms.Queue || p.Wait != old.terms.Wait {
		l.places = newGate(p.Concurrency, p.Queue, p.Wait)
	}
	if l.rate = old.rate; p.Rate != old.terms.Rate {
		l.rate = newRate(p.Rate)
	}
	if l.adaptive = old.adaptive; p.Adaptive != old.terms.Adaptive {
		l.adaptive = newAdaptive(p.Adaptive)
	}
	for _, s := range p.Shares {
		if i := slices.IndexFunc(old.shares, func(o share) bool { return o.Share == s }); i >= 0 {
			l.shares = append(l.shares, old.shares[i])
			continue
		}
		l.shares = append(l.shares, newShare(s))
	}
	return l
}

func newRate(r policy.InboundRate) *limit.Rate {
	if r.PerSecond <= 0 {
		return nil
	}
	return limit.NewRate(name, limit.RateOptions{PerSecond: r.PerSecond, Burst: max(r.Burst, 0)})
}

func newAdaptive(a policy.Adaptive) *limit.Adaptive {
	most, bounded := a.Max.Bound()
	if !bounded {
		return nil
	}
	return limit.NewAdaptive(name, limit.AdaptiveOptions{
		Min: a.Min, Max: most, Tolerance: a.Tolerance, Interval: time.Duration(a.Interval),
	})
}

// gate is a bulkhead, or one that nobody passes, or none.
type gate struct {
	*limit.Bulkhead

	most int
	shut *limit.FullError
}

func newGate(most, queue policy.Limit, wait policy.Duration) gate {
	n, bounded := most.Bound()
	switch {
	case !bounded:
		return gate{}
	case n == 0:
		return gate{shut: &limit.FullError{Name: name}}
	}
	waiting, bounded := queue.Bound()
	if !bounded {
		waiting = 1 << 30
	}
	return gate{most: n, Bulkhead: limit.NewBulkhead(name, limit.BulkheadOptions{Limit: n, Queue: waiting, Wait: time.Duration(wait)})}
}

func (g gate) enter(ctx context.Context, p limit.Priority) (limit.Leave, error) {
	switch {
	case g.shut != nil:
		return limit.Leave{}, g.shut
	case g.Bulkhead == nil:
		return limit.Leave{}, nil
	default:
		return g.EnterAs(ctx, p)
	}
}

// admission is what a call has taken of the limits.
type admission struct {
	place, load limit.Leave
	shares      [2]limit.Leave
	more        []limit.Leave // of the shares after those
}

// enough says whether there is time for an answer.
func (l *limits) enough(left time.Duration) error {
	if left == 0 || left > time.Duration(l.terms.Least) {
		return nil
	}
	return &RefusedError{Reason: TooLate}
}

// admit lets a call in. Who takes more than its share is refused first, and takes
// nothing of what is everybody's; what costs tokens comes after what costs
// nothing, so that none is spent on a call that is refused after all; how much the
// program carries is looked at last, when the waiting is over.
func (l *limits) admit(ctx context.Context, a *Arrival) (err error) {
	in := &a.admission
	for i := range l.shares {
		leave, err := l.shares[i].enter(ctx, a)
		if err != nil {
			return err
		}
		in.share(i, leave)
	}
	if in.place, err = l.places.enter(ctx, a.Priority); err != nil {
		return err
	}
	for i := range l.shares {
		if err := l.shares[i].begin(ctx, a); err != nil {
			return err
		}
	}
	if l.rate != nil {
		if _, err = l.rate.Enter(ctx); err != nil {
			return err
		}
	}
	if l.adaptive != nil {
		if in.load, err = l.adaptive.Enter(ctx, a.Priority); err != nil {
			return err
		}
		if a.Stream { // it is let in like others, and says nothing about how quick answers are
			in.load.Done(call.Canceled)
			in.load = limit.Leave{}
		}
	}
	return l.inTime(ctx, a)
}

// inTime looks at the caller's time once more, after the waiting.
func (l *limits) inTime(ctx context.Context, a *Arrival) error {
	if a.Remaining == 0 || l.places.Bulkhead == nil || l.terms.Queue == policy.None {
		return nil
	}
	at, ok := ctx.Deadline()
	if !ok {
		return nil
	}
	return l.enough(max(time.Until(at), 1))
}

func (in *admission) share(i int, l limit.Leave) {
	if i < len(in.shares) {
		in.shares[i] = l
		return
	}
	in.more = append(in.more, l)
}

// answered gives back what is taken for as long as the answer is awaited.
func (in *admission) answered() {
	in.load.Done(call.OK)
	in.load = limit.Leave{}
}

// done gives everything back.
func (in *admission) done(now time.Duration, e Ending) {
	reason := e.Reason
	if e.Refused != nil {
		reason = call.Rejected
	}
	in.load.DoneAt(now, reason)
	in.place.DoneAt(now, reason)
	for _, l := range in.shares {
		l.DoneAt(now, reason)
	}
	for _, l := range in.more {
		l.DoneAt(now, reason)
	}
	*in = admission{}
}

// load is how much of what it may carry the program is carrying.
func (l *limits) load() (utilization float64, known bool) {
	if l.adaptive != nil {
		utilization, known = float64(l.adaptive.Inflight())/float64(max(l.adaptive.Limit(), 1)), true
	}
	if l.places.Bulkhead != nil {
		carried := l.places.Inflight() + l.places.Waiting()
		utilization, known = max(utilization, float64(carried)/float64(l.places.most)), true
	}
	return utilization, known
}
