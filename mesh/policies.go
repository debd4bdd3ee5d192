package mesh

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/policy"
)

// documents is where central policy documents come from. Watch blocks until ctx
// ends and tells the document under a key whenever it changes; found is false
// while there is none.
type documents interface {
	Watch(ctx context.Context, key string, tell func(data []byte, found bool)) error
}

// policies merges the layers of policy for each service and follows the central
// ones. A bad document changes nothing: the last good one stays in force.
type policies struct {
	o         Options
	documents documents // nil if there is no centre
	prefix    string
	tel       *telemetry.Telemetry
	log       *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	taking    sync.Mutex // one document after the other
	directory *cluster.Directory

	mu       sync.Mutex
	layers   map[string]policy.Layer       // the documents in force by service, "" for the defaults
	followed map[string]context.CancelFunc // by service
}

func newPolicies(o Options, d documents, tel *telemetry.Telemetry, log *slog.Logger) *policies {
	p := &policies{
		o: o, documents: d, prefix: cmp.Or(o.Consul.KVPrefix, "innermesh"), tel: tel, log: log,
		layers: make(map[string]policy.Layer), followed: make(map[string]context.CancelFunc),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// start follows the defaults of all services and puts what comes in force for
// the clusters of d.
func (p *policies) start(d *cluster.Directory) {
	p.directory = d
	p.watch(p.ctx, p.prefix+"/defaults", "")
}

// follow begins to follow the document of a service that has come to life.
func (p *policies) follow(service string) {
	ctx, cancel := context.WithCancel(p.ctx)
	p.mu.Lock()
	p.followed[service] = cancel
	p.mu.Unlock()
	p.watch(ctx, p.prefix+"/services/"+service, service)
}

// forget ends what follow began.
func (p *policies) forget(service string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cancel := p.followed[service]; cancel != nil {
		cancel()
	}
	delete(p.followed, service)
	delete(p.layers, service)
}

func (p *policies) close() {
	p.cancel()
	p.wg.Wait()
}

// of returns what is in force for a service.
func (p *policies) of(service string) policy.Effective {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.merged(service)
}

func (p *policies) merged(service string) policy.Effective {
	layers := []policy.Layer{
		{Name: "built-in", Service: policy.Default()},
		{Name: "Options.Defaults", Service: p.o.Defaults},
		p.layers[""],
	}
	if service != "" {
		layers = append(layers, p.layers[service], policy.Layer{Name: "Options.Pinned", Service: p.o.Pinned[service]})
	}
	return policy.Merge(layers...)
}

// watch follows one document until ctx ends.
func (p *policies) watch(ctx context.Context, key, service string) {
	if p.documents == nil {
		return
	}
	p.wg.Go(func() {
		// Watch only ends with its context, which needs no telling.
		_ = p.documents.Watch(ctx, key, func(data []byte, found bool) { p.take(key, service, data, found) })
	})
}

// take puts a document in force, or says why not.
func (p *policies) take(key, service string, data []byte, found bool) {
	p.taking.Lock()
	defer p.taking.Unlock()
	layer := policy.Layer{Name: "consul kv " + key}
	if found {
		var err error
		if layer.Service, err = policy.Decode(data, layer.Name); err != nil {
			p.refuse(key, service, err)
			return
		}
	}
	if err := p.put(service, layer); err != nil {
		p.refuse(key, service, err)
		return
	}
	for _, c := range p.directory.All() {
		if service == "" || c.Service == service {
			c.Apply(p.of(c.Service))
		}
	}
	if found {
		p.log.Info("policy applied", "document", key)
	}
	p.tel.ConfigUpdated(service, true)
}

// put replaces a layer unless what would then be in force is invalid: a document
// can be good by itself and still contradict another layer.
func (p *policies) put(service string, layer policy.Layer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.layers[service]
	p.layers[service] = layer
	concerned := []string{service}
	if service == "" {
		concerned = slices.Collect(maps.Keys(p.layers))
	}
	for _, s := range concerned {
		if err := p.merged(s).Validate(); err != nil {
			p.layers[service] = old
			return err
		}
	}
	return nil
}

func (p *policies) refuse(key, service string, err error) {
	p.log.Error("policy refused, the last good one stays in force", "document", key, "error", err)
	p.tel.ConfigUpdated(service, false)
}
