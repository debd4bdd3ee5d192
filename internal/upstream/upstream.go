package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/route"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/retry"
)

// Upstream is one service that this process calls. All methods are safe for
// concurrent use.
type Upstream struct {
	// Service is the logical name.
	Service string
	// Telemetry records the calls to the service.
	Telemetry *telemetry.Upstream
	// Signals count them for who looks at this process.
	Signals Signals

	recent recent

	o     Options
	log   *slog.Logger
	terms policy.Effective // see Provisional
	ctx   context.Context  // ends with the upstream
	end   context.CancelFunc
	plan  atomic.Pointer[Plan]
	ready chan struct{} // closed by the first plan
	again atomic.Uint64 // attempts that were not the first
	used  atomic.Bool   // since the directory last looked

	beside background

	applying sync.Mutex // one plan after the other; calls never take it
	budgets  map[policy.Budget]*retry.Budget

	mu       sync.Mutex
	clusters map[string]*held // by target
	watchers map[*func()]struct{}
}

// held is a cluster of the plan in force, or of one that was until lately.
type held struct {
	*cluster.Cluster
	unwatch func()
	leaving *time.Timer  // nil while it is part of the plan
	copies  atomic.Int64 // under way, if it is that of a mirror
}

// linger is how long the instances of a target are followed after the last plan
// that has it: calls under way end under the plan they began with, and a target
// that is soon back keeps its state.
const linger = time.Minute

// patience is how long a new plan waits for its new targets' instances, so that
// the first calls to go there need not, and how long a call waits for a better
// tier than one that is known.
const patience = 500 * time.Millisecond

func newUpstream(ctx context.Context, service string, o Options) *Upstream {
	u := &Upstream{
		Service: service, Telemetry: o.Telemetry.Upstream(service), o: o, log: o.Logger.With("service", service),
		ready: make(chan struct{}), budgets: make(map[policy.Budget]*retry.Budget),
		clusters: make(map[string]*held), watchers: make(map[*func()]struct{}),
	}
	u.terms = o.Provisional(service)
	u.ctx, u.end = context.WithCancel(ctx)
	u.used.Store(true)
	return u
}

// Plan returns what a call that starts now goes by, nil before the first.
func (u *Upstream) Plan() *Plan { return u.plan.Load() }

// Ready waits until there is a plan and returns it. It fails when ctx ends
// first, or the upstream is let go.
func (u *Upstream) Ready(ctx context.Context) (*Plan, error) {
	select {
	case <-u.ready:
		return u.Plan(), nil
	default:
	}
	select {
	case <-u.ready:
		return u.Plan(), nil
	case <-u.ctx.Done():
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: the policy of the service is not known yet (%w)", discovery.ErrNotReady, context.Cause(ctx))
	}
}

// Caller names who calls: this program on this machine.
func (u *Upstream) Caller() string { return u.o.Caller }

// Provisional is what is known of the service's policy while there is no plan.
func (u *Upstream) Provisional() *policy.Effective { return &u.terms }

// Check says whether a policy can be put in force for a service.
func Check(service string, p policy.Effective) error {
	if err := p.Validate(); err != nil {
		return err
	}
	_, err := route.Compile(service, p)
	return err
}

// Apply puts a policy in force for calls that start from now on. If it can not
// be, nothing changes. When the plan brings new targets, Apply waits a little
// for their instances.
func (u *Upstream) Apply(p policy.Effective) error {
	u.applying.Lock()
	defer u.applying.Unlock()
	table, err := route.Compile(u.Service, p)
	if err != nil {
		return err
	}
	plan, fresh := u.build(p, table)
	if plan == nil {
		return ErrClosed
	}
	if first := u.Plan() == nil; !first {
		u.await(fresh)
	}
	u.publish(plan)
	return nil
}

// build makes the plan of a table. Budgets of the same terms are one, over all
// plans; clusters of the same target too. There is none if the upstream is closed.
func (u *Upstream) build(p policy.Effective, table *route.Table) (plan *Plan, fresh []*cluster.Cluster) {
	plan = &Plan{Policy: p, Since: mono.Now(), table: table, targets: make(map[string]bool)}
	budgets := make(map[policy.Budget]*retry.Budget)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ctx.Err() != nil { // nobody would close what is opened now
		return nil, nil
	}
	for _, r := range table.Routes() {
		terms := r.Policy.Retry.Budget
		if budgets[terms] = u.budgets[terms]; budgets[terms] == nil {
			budgets[terms] = newBudget(terms)
			u.budgets[terms] = budgets[terms]
		}
		out := newRoute(r, budgets[terms])
		for _, l := range r.Legs {
			d := &Destination{Leg: l, patient: mono.Now() + patience}
			for _, t := range l.Targets {
				h, opened := u.held(plan, t, false)
				if opened {
					fresh = append(fresh, h.Cluster)
				}
				d.tiers = append(d.tiers, h.Cluster)
				d.ways = append(d.ways, u.Telemetry.Way(r.Name, t.Service, t.Subset))
			}
			out.Destinations = append(out.Destinations, d)
		}
		for _, m := range r.Mirrors {
			out.Mirrors = append(out.Mirrors, u.mirror(plan, m)) // not fresh: no plan waits for a copy's instances
		}
		plan.Routes = append(plan.Routes, out)
	}
	u.budgets = budgets
	return plan, fresh
}

// key tells targets apart: by which instances they are. Two that are the same
// instances on other terms are told apart by their terms, and a mirror from all
// others.
func (u *Upstream) key(plan *Plan, t route.Target, mirror bool) string {
	key := strings.Join([]string{t.Service, t.Filter, t.Datacenter, t.Namespace, t.Partition, t.Peer, t.SNI}, "\x00")
	if t.OnlyPassing {
		key += "\x00passing"
	}
	if mirror {
		key += "\x00mirror"
	}
	terms := fmt.Sprint(t.Connect, t.Balancer)
	if first, taken := plan.terms[key]; taken && first != terms {
		return key + "\x00" + terms
	}
	if plan.terms == nil {
		plan.terms = make(map[string]string)
	}
	plan.terms[key] = terms
	return key
}

// held returns the cluster of a target that a new plan has. The caller holds the
// lock.
func (u *Upstream) held(plan *Plan, t route.Target, mirror bool) (h *held, opened bool) {
	key := u.key(plan, t, mirror)
	h = u.clusters[key]
	if opened = h == nil; opened {
		h = u.open(t, mirror)
		u.clusters[key] = h
	}
	plan.targets[key] = true
	plan.changes = append(plan.changes, func() { h.Apply(t.Policy) })
	return h, opened
}

// open begins to follow the instances of a target. The caller holds the lock.
func (u *Upstream) open(t route.Target, mirror bool) *held {
	c := cluster.New(u.ctx, cluster.Options{
		Upstream: u.Service, Target: t.Target, Mirror: mirror, Policy: t.Policy, Place: u.o.Place(), Seat: u.o.Seat,
		Source: u.o.Source, Telemetry: u.o.Telemetry, Logger: u.log,
	})
	return &held{Cluster: c, unwatch: c.Watch(u.changed)}
}

// await gives new targets a moment to learn their instances.
func (u *Upstream) await(fresh []*cluster.Cluster) {
	if len(fresh) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(u.ctx, patience)
	defer cancel()
	for _, c := range fresh {
		_ = c.Ready(ctx) // who is not, is waited for by the calls that go there
	}
}

// publish swaps the plan in and lets go of what it does not need.
func (u *Upstream) publish(plan *Plan) {
	for _, change := range plan.changes { // under no lock: they tell watchers
		change()
	}
	plan.changes = nil
	u.mu.Lock()
	if u.ctx.Err() != nil {
		u.mu.Unlock()
		return
	}
	first := u.plan.Swap(plan) == nil
	for key, c := range u.clusters {
		switch {
		case plan.targets[key] && c.leaving != nil:
			c.leaving.Stop()
			c.leaving = nil
		case !plan.targets[key] && c.leaving == nil:
			c.leaving = time.AfterFunc(linger, func() { u.leave(key, c) })
		}
	}
	u.mu.Unlock()
	if first {
		close(u.ready)
	}
	u.changed()
}

// leave lets go of a cluster that no plan has had for a while.
func (u *Upstream) leave(key string, c *held) {
	u.mu.Lock()
	gone := u.clusters[key] == c && c.leaving != nil && u.ctx.Err() == nil
	if gone {
		delete(u.clusters, key)
	}
	u.mu.Unlock()
	if gone {
		c.unwatch()
		c.Close()
		u.changed()
	}
}

// Watch has changed called after each change of the plan or of the members of
// a target, until stop; one last call may come while stop returns. changed runs
// in the goroutine that made the change, under no lock of the upstream's.
func (u *Upstream) Watch(changed func()) (stop func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.watchers[&changed] = struct{}{}
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.watchers, &changed)
	}
}

func (u *Upstream) changed() {
	u.mu.Lock()
	watchers := slices.Collect(maps.Keys(u.watchers))
	u.mu.Unlock()
	for _, w := range watchers {
		(*w)()
	}
}

func (u *Upstream) watched() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.watchers) > 0
}

// Clusters returns the targets' clusters, those of an earlier plan that calls
// may still be under way to included, the first one of the plan first.
func (u *Upstream) Clusters() []*cluster.Cluster {
	u.mu.Lock()
	defer u.mu.Unlock()
	var all []*cluster.Cluster
	seen := make(map[*cluster.Cluster]bool)
	if plan := u.Plan(); plan != nil {
		for _, r := range plan.Routes {
			for _, d := range r.Destinations {
				for _, c := range d.tiers {
					if !seen[c] {
						seen[c] = true
						all = append(all, c)
					}
				}
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(u.clusters)) {
		if c := u.clusters[key].Cluster; !seen[c] {
			all = append(all, c)
		}
	}
	return all
}

// Members returns everybody who may be called, over all targets.
func (u *Upstream) Members() []*cluster.Member {
	var all []*cluster.Member
	for _, c := range u.Clusters() {
		all = append(all, c.View().Members()...)
	}
	return all
}

// Inflight returns how many attempts are under way, those of copies left out.
func (u *Upstream) Inflight() (n int) {
	for _, c := range u.Clusters() {
		if !c.IsMirror() {
			n += c.Inflight()
		}
	}
	return n
}

// Retried counts an attempt that is not the first of its call; Retries tells
// how many there were.
func (u *Upstream) Retried() { u.again.Add(1) }

// Retries returns how many attempts were not the first of their call.
func (u *Upstream) Retries() uint64 { return u.again.Load() }

// close ends all that belongs to the upstream.
func (u *Upstream) close() {
	u.end()
	u.mu.Lock()
	clusters := u.clusters
	u.clusters = map[string]*held{}
	for _, c := range clusters {
		if c.leaving != nil {
			c.leaving.Stop()
		}
	}
	u.mu.Unlock()
	for _, c := range clusters {
		c.unwatch() // the upstream ends, its members have not changed
		c.Close()
	}
	u.beside.rest()
}
