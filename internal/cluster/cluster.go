package cluster

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/policy"
)

// Cluster is a set of instances, all of a service or some, as this process knows
// them. One goroutine follows discovery; all methods are safe for concurrent use.
type Cluster struct {
	// Target says which instances they are.
	Target policy.Target

	o      Options
	log    *slog.Logger
	tel    *telemetry.Target
	view   atomic.Pointer[View]
	limits atomic.Pointer[limits]
	ready  chan struct{}         // closed by the first snapshot
	doubt  atomic.Pointer[error] // what the source said last, while it knows nothing
	closed context.CancelFunc
	ended  chan struct{}

	quota Quota

	floor   floor
	silence silence

	mu       sync.Mutex // orders updates; calls never take it
	roster   roster
	outliers *breaker.Outliers // nil while nobody is ejected
	byID     sync.Map          // the members, for who must not wait for updates
	unknown  bool
	answered bool
	watchers map[*func()]struct{}
}

// Options say what a cluster is and what it needs.
type Options struct {
	// Upstream is the service that is called, as metrics and logs name it.
	Upstream string
	// Target says which instances to follow.
	Target policy.Target
	// Mirror says that they are sent nothing but copies of calls.
	Mirror bool
	// Policy is in force for them until [Cluster.Apply].
	Policy policy.Effective
	// Place is where this process is, as far as is known.
	Place balancer.Place
	// Seat says which part of a large service this process calls, see
	// [balancer.Seat].
	Seat      uint64
	Source    discovery.Source
	Telemetry *telemetry.Telemetry
	Logger    *slog.Logger
}

// New returns a cluster that follows its instances. Close it.
func New(ctx context.Context, o Options) *Cluster {
	ctx, cancel := context.WithCancel(ctx)
	c := &Cluster{
		Target: o.Target, o: o, log: o.Logger,
		tel:   o.Telemetry.Target(o.Upstream, o.Target.Service, o.Target.Subset),
		ready: make(chan struct{}), closed: cancel, ended: make(chan struct{}),
		watchers: make(map[*func()]struct{}),
	}
	if name := o.Target.String(); name != o.Upstream {
		c.log = c.log.With("target", name)
	}
	if o.Mirror {
		c.tel = o.Telemetry.UnrecordedTarget()
		c.log = c.log.With("mirror", true)
	}
	s := newSettings(o.Policy)
	v := newView(s, nil, 0, discovery.ErrNotReady)
	v.located = c.place(s) != balancer.Place{}
	c.view.Store(v)
	c.floor.set(mono.Now(), s.panicRatio)
	c.compare(s)
	c.bound(o.Policy)
	c.silence.begin()
	go func() {
		defer close(c.ended)
		if err := discovery.WatchQuery(ctx, o.Source, query(o.Target), c.update); ctx.Err() == nil {
			c.update(discovery.Update{Err: fmt.Errorf("the source gave up: %w", err)})
			<-ctx.Done()
		}
	}()
	return c
}

func query(t policy.Target) discovery.Query {
	return discovery.Query{
		Service: t.Service, Filter: t.Filter,
		Datacenter: t.Datacenter, Namespace: t.Namespace, Partition: t.Partition, Peer: t.Peer,
	}
}

// IsMirror says that the instances are sent nothing but copies of calls.
func (c *Cluster) IsMirror() bool { return c.o.Mirror }

// View returns what a call that starts now sees.
func (c *Cluster) View() *View { return c.view.Load() }

// Quota returns the count of the connections to the instances.
func (c *Cluster) Quota() *Quota { return &c.quota }

// IsReady says whether the source has told of the service.
func (c *Cluster) IsReady() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

// Ready waits until the source has told of the service for the first time. The
// error says why it has not.
func (c *Cluster) Ready(ctx context.Context) error {
	if c.IsReady() {
		return nil
	}
	select {
	case <-c.ready:
		return nil
	case <-c.ended:
		return ErrClosed
	case <-ctx.Done():
		return c.notReady(context.Cause(ctx))
	}
}

func (c *Cluster) notReady(cause error) error {
	if doubt := c.doubt.Load(); doubt != nil {
		return fmt.Errorf("%w: %w (%w)", discovery.ErrNotReady, *doubt, cause)
	}
	return fmt.Errorf("%w (%w)", discovery.ErrNotReady, cause)
}

// Apply puts a policy in force for calls that start from now on. Members keep
// their state; breakers start anew only if their own terms changed.
func (c *Cluster) Apply(p policy.Effective) {
	c.mu.Lock()
	old := c.view.Load()
	s := newSettings(p)
	if !s.sameBreaker(old.Settings) {
		for _, m := range c.roster.called() {
			c.arm(m, s)
		}
	}
	c.floor.set(mono.Now(), s.panicRatio)
	c.bound(p)
	if !s.sameEjection(old.Settings) {
		c.compare(s)
	}
	ch := c.enroll(s, nil, nil, true)
	tell := c.publish(s, ch)
	c.mu.Unlock()
	tell()
	depart(ch.gone)
}

// Locate says where this process is from now on.
func (c *Cluster) Locate(p balancer.Place) {
	c.mu.Lock()
	if c.o.Place == p || errors.Is(c.View().Error(), ErrClosed) {
		c.mu.Unlock()
		return
	}
	c.o.Place = p
	s := c.view.Load().Settings
	ch := c.enroll(s, nil, nil, true)
	ch.reweighed = true
	tell := c.publish(s, ch)
	c.mu.Unlock()
	tell()
	depart(ch.gone)
}

// Watch has changed called after each change of the view, until stop; one last
// call may come while stop returns. changed runs in the goroutine that made the
// change, under no lock of the cluster's. The last change is the end: View's error
// is [ErrClosed] then, and nobody is told anything after it.
func (c *Cluster) Watch(changed func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers[&changed] = struct{}{}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, &changed)
	}
}

// Inflight returns how many attempts are under way.
func (c *Cluster) Inflight() (n int) {
	c.mu.Lock()
	members := c.roster.called()
	c.mu.Unlock()
	for _, m := range members {
		n += m.load.Inflight()
	}
	return n
}

// Close ends the cluster's goroutine and lets its members go; what is under way
// with them may finish.
func (c *Cluster) Close() {
	c.closed()
	<-c.ended
	c.mu.Lock()
	members := c.roster.called()
	c.roster = roster{}
	c.view.Store(newView(c.view.Load().Settings, nil, 0, ErrClosed))
	watchers := slices.Collect(maps.Keys(c.watchers))
	clear(c.watchers)
	c.mu.Unlock()
	for _, w := range watchers {
		(*w)()
	}
	depart(members)
}

// update takes in what the source tells.
func (c *Cluster) update(u discovery.Update) {
	if u.Err != nil {
		c.doubtful(u.Err)
		return
	}
	if tell, after := c.silence.ends(); tell {
		c.log.Info("discovery answers again", "after", after.Round(time.Millisecond))
	}
	c.mu.Lock()
	c.unknown = u.Snapshot.Unknown
	s := c.view.Load().Settings
	touched, gone, moved := c.follow(u.Snapshot.Instances)
	ch := c.enroll(s, touched, gone, moved)
	first := !c.answered
	c.answered = true
	tell := c.publish(s, ch)
	c.mu.Unlock()
	if first {
		close(c.ready)
	}
	tell()
	depart(ch.gone)
}

func depart(members []*Member) {
	for _, m := range members {
		m.depart()
	}
}

func (c *Cluster) doubtful(err error) {
	c.doubt.Store(&err)
	if !c.silence.fails() {
		return
	}
	c.mu.Lock()
	known := c.answered
	c.mu.Unlock()
	c.log.Warn("discovery failed", "error", err, "serving_last_known", known)
}

// publish builds the view of settings and members and swaps it in. The caller
// calls tell when it has unlocked.
func (c *Cluster) publish(s *Settings, ch changes) (tell func()) {
	c.floor.change(mono.Now(), ch.leave, ch.join, ch.gone)
	old := c.view.Load()
	v := old.changed(ch, len(c.roster.all), c.emptiness())
	if v == nil || old.Settings != s {
		v = newView(s, c.levels(s), len(c.roster.all), c.emptiness())
		v.located = c.place(s) != balancer.Place{}
	}
	c.view.Store(v)
	watchers := slices.Collect(maps.Keys(c.watchers))
	return func() {
		for _, w := range watchers {
			(*w)()
		}
	}
}

// emptiness says why there is nobody to call, should that be so.
func (c *Cluster) emptiness() error {
	switch {
	case !c.answered:
		return discovery.ErrNotReady
	case len(c.roster.all) > 0:
		return discovery.ErrNoHealthyInstance
	case c.unknown:
		return discovery.ErrUnknownService
	default:
		return discovery.ErrNoInstances
	}
}

// arm gives a member a new breaker.
func (c *Cluster) arm(m *Member, s *Settings) {
	if m.guard.Swap(nil) != nil {
		c.floor.mend(mono.Now(), m)
	}
	if s.breakerOff {
		return
	}
	g := &guard{window: s.breaker.Window}
	g.Breaker = breaker.New(m.ID, s.breaker, func(change breaker.Change) {
		if m.guard.Load() != g {
			return // another took its place; this one hears of attempts from before
		}
		switch change.To {
		case breaker.Open:
			now := mono.Now()
			c.floor.trip(now, m, now+s.breaker.Open)
			m.trips.Add(1)
			if change.From == breaker.Closed { // that a probe has failed is no news
				c.log.Warn("circuit opened", "instance", m.ID, "until", change.Until)
			}
		case breaker.Closed:
			c.floor.mend(mono.Now(), m)
			c.log.Info("circuit closed", "instance", m.ID)
		case breaker.HalfOpen:
		}
		c.tel.BreakerChanged(change.To.String())
	})
	m.guard.Store(g)
}

// known returns all instances, and the members of those that are called.
func (c *Cluster) known() iter.Seq2[*Member, discovery.Instance] {
	c.mu.Lock()
	all, members := c.roster.all, slices.Clone(c.roster.members)
	c.mu.Unlock()
	return func(yield func(*Member, discovery.Instance) bool) {
		for i := range all {
			if !yield(members[i], all[i]) {
				return
			}
		}
	}
}
