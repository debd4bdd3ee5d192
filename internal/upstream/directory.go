package upstream

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/policy"
)

// Directory holds the upstreams of one mesh. An upstream comes to life with the
// first call to its service and is let go when nobody has called it for a while.
type Directory struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}

	upstreams sync.Map // service name to *Upstream

	mu     sync.Mutex
	closed bool
}

// Options are what a directory needs of the mesh it belongs to.
type Options struct {
	Source    discovery.Source
	Telemetry *telemetry.Telemetry
	Logger    *slog.Logger
	// Follow begins to follow the policy of a service that has come to life; it
	// has [Upstream.Apply] called, now or soon. Forget ends that; it may be nil.
	Follow func(u *Upstream)
	Forget func(u *Upstream)
	// Provisional is what a call goes by that waits for its service's policy.
	Provisional func(service string) policy.Effective
	// Caller names this program on this machine, for balancers that hash it.
	Caller string
	// Place tells where this program runs, as far as is known by now; nil is
	// nowhere. Seat says which part of a large service it calls.
	Place func() balancer.Place
	Seat  uint64
	// Permit says why a call to a target will be refused there, nil if it will not
	// or that is not known. path is "" if it is not known. Nil permits everything.
	Permit func(to *policy.Target, method, path string) error
	// Idle is how long a service may go without a call before it is let go.
	// Default 10 min.
	Idle time.Duration
}

// ErrClosed is the cause of calls that come after the mesh was closed.
var ErrClosed = cluster.ErrClosed

// NewDirectory returns an empty directory. Close it.
func NewDirectory(o Options) *Directory {
	o.Idle = cmp.Or(o.Idle, 10*time.Minute)
	if o.Place == nil {
		o.Place = func() balancer.Place { return balancer.Place{} }
	}
	d := &Directory{o: o, ended: make(chan struct{})}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	go d.sweep()
	return d
}

// Get returns the upstream of a service, bringing it to life if need be.
func (d *Directory) Get(service string) (*Upstream, error) {
	if u, ok := d.upstreams.Load(service); ok {
		u := u.(*Upstream)
		if !u.used.Load() { // rarely written, so that calls do not fight over the line
			u.used.Store(true)
		}
		return u, nil
	}
	return d.open(service)
}

func (d *Directory) open(service string) (*Upstream, error) {
	u, opened, err := d.add(service)
	if opened {
		d.o.Follow(u) // under no lock: it may look us up
	}
	return u, err
}

func (d *Directory) add(service string) (u *Upstream, added bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if u, ok := d.upstreams.Load(service); ok {
		return u.(*Upstream), false, nil
	}
	if d.closed {
		return nil, false, ErrClosed
	}
	u = newUpstream(d.ctx, service, d.o)
	d.upstreams.Store(service, u)
	return u, true, nil
}

// Known returns the upstream of a service that is alive, else nil.
func (d *Directory) Known(service string) *Upstream {
	if u, ok := d.upstreams.Load(service); ok {
		return u.(*Upstream)
	}
	return nil
}

// All returns the upstreams that are alive, by name.
func (d *Directory) All() []*Upstream {
	var all []*Upstream
	for _, u := range d.upstreams.Range {
		all = append(all, u.(*Upstream))
	}
	slices.SortFunc(all, func(a, b *Upstream) int { return cmp.Compare(a.Service, b.Service) })
	return all
}

// Moved puts in force what [Options].Place tells now.
func (d *Directory) Moved() {
	for _, u := range d.All() {
		for _, c := range u.Clusters() {
			c.Locate(d.o.Place())
		}
	}
}

// Close lets all upstreams go and ends every goroutine of theirs.
func (d *Directory) Close() {
	d.mu.Lock()
	already := d.closed
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	<-d.ended
	if already {
		return
	}
	for _, u := range d.All() {
		u.close()
	}
}

// sweep lets go of what nobody has called between two looks.
func (d *Directory) sweep() {
	defer close(d.ended)
	tick := time.NewTicker(d.o.Idle)
	defer tick.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-tick.C:
			for _, u := range d.All() {
				if !u.used.Swap(false) && !u.watched() {
					d.drop(u)
				}
			}
		}
	}
}

func (d *Directory) drop(u *Upstream) {
	d.mu.Lock()
	d.upstreams.Delete(u.Service)
	d.mu.Unlock()
	if d.o.Forget != nil {
		d.o.Forget(u)
	}
	u.close()
}
