package cluster

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/policy"
)

// Directory holds the clusters of one mesh. A cluster comes to life with the
// first call to its service and is let go when nobody has called it for a while.
type Directory struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}

	clusters sync.Map // service name to *Cluster

	mu     sync.Mutex
	closed bool
}

// Options are what a directory needs of the mesh it belongs to.
type Options struct {
	Source    discovery.Source
	Telemetry *telemetry.Telemetry
	Logger    *slog.Logger
	// Policy returns what is in force for a service that comes to life, and
	// Opened and Closed tell when one has come and gone; both may be nil.
	Policy         func(service string) policy.Effective
	Opened, Closed func(service string)
	// Idle is how long a service may go without a call before it is let go.
	// Default 10 min.
	Idle time.Duration
}

// NewDirectory returns an empty directory. Close it.
func NewDirectory(o Options) *Directory {
	o.Idle = cmp.Or(o.Idle, 10*time.Minute)
	d := &Directory{o: o, ended: make(chan struct{})}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	go d.sweep()
	return d
}

// Get returns the cluster of a service, bringing it to life if need be.
func (d *Directory) Get(service string) (*Cluster, error) {
	if c, ok := d.clusters.Load(service); ok {
		c := c.(*Cluster)
		if !c.used.Load() { // rarely written, so that calls do not fight over the line
			c.used.Store(true)
		}
		return c, nil
	}
	return d.open(service)
}

func (d *Directory) open(service string) (*Cluster, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c, ok := d.clusters.Load(service); ok {
		return c.(*Cluster), nil
	}
	if d.closed {
		return nil, ErrClosed
	}
	c := newCluster(d.ctx, service, d.o)
	d.clusters.Store(service, c)
	if d.o.Opened != nil {
		d.o.Opened(service)
	}
	return c, nil
}

// Known returns the cluster of a service that is alive, else nil.
func (d *Directory) Known(service string) *Cluster {
	if c, ok := d.clusters.Load(service); ok {
		return c.(*Cluster)
	}
	return nil
}

// All returns the clusters that are alive, by name.
func (d *Directory) All() []*Cluster {
	var all []*Cluster
	for _, c := range d.clusters.Range {
		all = append(all, c.(*Cluster))
	}
	slices.SortFunc(all, func(a, b *Cluster) int { return cmp.Compare(a.Service, b.Service) })
	return all
}

// Close lets all clusters go and ends every goroutine of theirs.
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
	for _, c := range d.All() {
		c.close()
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
			for _, c := range d.All() {
				if !c.used.Swap(false) && !c.watched() {
					d.drop(c)
				}
			}
		}
	}
}

func (d *Directory) drop(c *Cluster) {
	d.mu.Lock()
	d.clusters.Delete(c.Service)
	d.mu.Unlock()
	c.close()
	if d.o.Closed != nil {
		d.o.Closed(c.Service)
	}
}

func (c *Cluster) watched() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.watchers) > 0
}
