package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

// slot is the place of a layer among those that are laid over the built-in
// policy and the program's defaults, lowest first.
type slot int

const (
	slotEntries        slot = iota // Consul's config entries
	slotSharedConfig               // the extension in proxy-defaults
	slotSharedDocument             // the document for all services
	slotSharedFile                 // the same in the local file
	slotMeta                       // the extension in the service's service-defaults
	slotDocument                   // the document of the service
	slotFile                       // the same in the local file
	slots
)

// policies merges the layers of policy for each service and follows the central
// ones. A bad document changes nothing: the last good one stays in force.
type policies struct {
	o       Options
	sources []policySource
	tel     *telemetry.Telemetry
	log     *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	silence silences

	taking sync.Mutex // one document after the other

	mu       sync.Mutex
	shared   [slots]policy.Layer // those of all services
	refused  map[string]Refusal  // by what was refused, until it is good again
	booked   booked
	heard    map[string]bool    // the shared sources that have spoken
	parked   map[string]*parked // by what waits for others to change
	followed map[string]*following
}

// policySource is where layers come from.
type policySource interface {
	// name is the source's, as people know it.
	name() string
	// shared says whether the source tells of all services too.
	shared() bool
	// watch tells the layers of a service, or of all if it is named "", until
	// ctx ends. known is false while the source could not be asked.
	watch(ctx context.Context, service string, tell func(u policyUpdate)) error
}

// policyUpdate is what a source says: some layers, or why not.
type policyUpdate struct {
	// what names the source in logs, such as "consul kv innermesh/defaults".
	what   string
	layers map[slot]policy.Layer
	// err says that what the source has is no good.
	err error
	// found is false if the source has nothing, which is no fault.
	found bool
	// index is the source's own count of changes, 0 if it has none.
	index uint64
	// unknown says that the source could not be asked.
	unknown bool
	// kept says that it comes from disk, as the source is silent.
	kept bool
	// taken is called when the layers are in force. It may be nil.
	taken func()
}

// following is a service whose policy is followed.
type following struct {
	service  string
	stop     context.CancelFunc
	applying sync.Mutex // what is merged last is applied last

	// Guarded by the mutex of policies.
	users  []follower // at least one
	layers [slots]policy.Layer
	silent int // sources that have not spoken yet
}

// follower is who goes by a service's policy: those who call it, or this program,
// which serves it.
type follower interface {
	// Fresh says that no policy was applied yet.
	Fresh() bool
	// Apply puts a policy in force.
	Apply(p policy.Effective) error
}

// calling is a follower that calls the service.
type calling struct{ *upstream.Upstream }

// Fresh implements follower.
func (c calling) Fresh() bool { return c.Plan() == nil }

func newPolicies(o Options, sources []policySource, tel *telemetry.Telemetry, log *slog.Logger) *policies {
	p := &policies{
		o: o, sources: sources, tel: tel, log: log,
		booked: make(booked), heard: make(map[string]bool), followed: make(map[string]*following), refused: make(map[string]Refusal),
		parked: make(map[string]*parked),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// start follows what is said of all services.
func (p *policies) start() {
	for _, s := range p.sources {
		if s.shared() {
			p.watch(p.ctx, s, "", func() { p.spoken(s) })
		}
	}
}

// follow begins to follow the policy of a service that has come to life. It is
// put in force once every source has spoken.
func (p *policies) follow(u *upstream.Upstream) { p.join(u.Service, calling{u}) }

// join lets somebody go by the policy of a service.
func (p *policies) join(service string, user follower) {
	p.mu.Lock()
	if f := p.followed[service]; f != nil {
		f.users = append(f.users, user)
		silent := f.silent
		p.mu.Unlock()
		if silent == 0 {
			p.apply(f)
		}
		return
	}
	ctx, cancel := context.WithCancel(p.ctx)
	f := &following{service: service, users: []follower{user}, stop: cancel, silent: len(p.sources)}
	for _, s := range p.sources {
		if s.shared() && !p.heard[s.name()] {
			f.silent++
		}
	}
	p.followed[service] = f
	silent := f.silent
	p.mu.Unlock()
	if silent == 0 {
		p.apply(f)
	}
	for _, s := range p.sources {
		p.watch(ctx, s, service, func() { p.hear(f) })
	}
}

// watch follows one source until ctx ends; first is called when it has spoken.
func (p *policies) watch(ctx context.Context, s policySource, service string, first func()) {
	var once sync.Once
	p.mu.Lock() // a call may bring a service to life while the mesh closes
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return
	}
	heard := p.silence.of(s.name() + "\n" + service)
	p.wg.Go(func() {
		defer heard(true) // nobody follows it any more
		// A watch only ends with its context, which needs no telling.
		_ = s.watch(ctx, service, func(u policyUpdate) {
			if !u.kept {
				heard(!u.unknown)
			}
			if u.unknown {
				return // what is known stays in force
			}
			if u.layers != nil || u.err != nil {
				p.take(service, u)
			}
			once.Do(first)
		})
	})
}

// spoken notes that a source has said what concerns all services.
func (p *policies) spoken(s policySource) {
	p.mu.Lock()
	p.heard[s.name()] = true
	all := make([]*following, 0, len(p.followed))
	for _, f := range p.followed {
		all = append(all, f)
	}
	p.mu.Unlock()
	p.settled("")
	for _, f := range all {
		p.hear(f)
	}
}

// hear counts a source that has spoken of a service. With the last one the
// policy is in force.
func (p *policies) hear(f *following) {
	p.mu.Lock()
	f.silent--
	complete := f.silent == 0
	p.mu.Unlock()
	if complete {
		p.settled(f.service)
		p.apply(f)
	}
}

// forget ends what follow began.
func (p *policies) forget(u *upstream.Upstream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.followed[u.Service]
	if f == nil || !slices.Contains(f.users, follower(calling{u})) {
		return
	}
	f.users = slices.DeleteFunc(slices.Clone(f.users), func(user follower) bool { return user == calling{u} })
	if len(f.users) == 0 {
		f.stop()
		delete(p.followed, u.Service)
		maps.DeleteFunc(p.refused, func(_ string, r Refusal) bool { return r.service == u.Service })
		p.booked.forget(u.Service)
		maps.DeleteFunc(p.parked, func(_ string, w *parked) bool { return w.service == u.Service })
	}
}

func (p *policies) close() {
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.wg.Wait()
}

// of returns what is in force for a service, as far as is known.
func (p *policies) of(service string) policy.Effective {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.merged(service)
}

func (p *policies) merged(service string) policy.Effective {
	own := [slots]policy.Layer{}
	if f := p.followed[service]; f != nil {
		own = f.layers
	}
	layers := p.options(service)
	pinned := layers[len(layers)-1]
	layers = layers[:len(layers)-1]
	for i := range slots {
		layers = append(layers, p.shared[i], own[i])
	}
	layers = append(layers, pinned)
	return policy.Merge(slices.DeleteFunc(layers, func(l policy.Layer) bool { return l.Name == "" })...)
}

// options are the layers of the program itself, lowest first.
func (p *policies) options(service string) []policy.Layer {
	own := policy.Layer{Name: "Options.Server"}
	if service == p.o.Service {
		own.Service.Inbound = p.o.Server.Inbound
	}
	return []policy.Layer{
		{Name: "built-in", Service: policy.Default()},
		{Name: "Options.Defaults", Service: p.o.Defaults},
		own,
		{Name: "Options.Pinned", Service: p.o.Pinned[service]},
	}
}

// take puts what a source says in force, or says why not.
func (p *policies) take(service string, u policyUpdate) {
	p.taking.Lock()
	defer p.taking.Unlock()
	if u.err != nil {
		p.note(service, u, u.err)
		return
	}
	p.mu.Lock()
	delete(p.parked, u.what)
	p.mu.Unlock()
	if err := p.put(service, u.layers); err != nil {
		p.park(service, u, err)
		return
	}
	p.taken(service, u)
	var applying sync.WaitGroup
	for _, f := range p.concerned(append(p.unpark(), service)) {
		applying.Go(func() { p.apply(f) })
	}
	applying.Wait()
}

// taken notes that a change is in force from now on.
func (p *policies) taken(service string, u policyUpdate) {
	p.note(service, u, nil)
	if u.taken != nil {
		u.taken()
	}
}

// note tells how a change was taken, once.
func (p *policies) note(service string, u policyUpdate, err error) {
	p.mu.Lock()
	old, news := p.refused[u.what]
	if err == nil {
		delete(p.refused, u.what)
		news = p.booked.note(service, u) || news
	} else if news = old.Err == nil || old.Index != u.index || old.Err.Error() != err.Error(); news {
		p.refused[u.what] = Refusal{Document: u.what, Index: u.index, At: time.Now(), Err: err, service: service}
	}
	p.mu.Unlock()
	if !news { // Consul was away, and tells again what it has told
		return
	}
	switch {
	case err != nil:
		p.log.Error("policy refused, the last good one stays in force", "document", u.what, "index", u.index, "error", err)
	case u.found:
		p.log.Info("policy applied", "document", u.what, "index", u.index)
	}
	p.tel.ConfigUpdated(service, err == nil)
}

// refusals lists what was refused that concerns a service.
func (p *policies) refusals(service string) []Refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Refusal
	for _, what := range slices.Sorted(maps.Keys(p.refused)) {
		if r := p.refused[what]; r.service == "" || r.service == service {
			all = append(all, r)
		}
	}
	return all
}

// refusedNow returns how many documents are refused as they are.
func (p *policies) refusedNow() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.refused)
}

// put replaces layers unless what would then be in force is invalid: a document
// can be good by itself and still contradict another layer.
func (p *policies) put(service string, layers map[slot]policy.Layer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := &p.shared
	concerned := []string{service}
	if service == "" {
		for s := range p.followed {
			concerned = append(concerned, s)
		}
	} else {
		f := p.followed[service]
		if f == nil {
			return nil // it was let go meanwhile
		}
		at = &f.layers
	}
	old := *at
	for i, l := range layers {
		at[i] = l
	}
	var faults []error
	for _, s := range concerned {
		if err := upstream.Check(s, p.merged(s)); err != nil {
			faults = append(faults, fmt.Errorf("service %q: %w", s, err))
		}
	}
	if len(faults) > 0 {
		*at = old
		if service != "" {
			return errors.Unwrap(faults[0])
		}
	}
	return errors.Join(faults...)
}

// concerned returns the services that changes of these services' layers are for,
// all if one is "", unless a source is still silent about them.
func (p *policies) concerned(services []string) []*following {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*following
	for s, f := range p.followed {
		if f.silent == 0 && (slices.Contains(services, "") || slices.Contains(services, s)) {
			all = append(all, f)
		}
	}
	return all
}

func (p *policies) apply(f *following) {
	f.applying.Lock()
	defer f.applying.Unlock()
	p.mu.Lock()
	users := slices.Clone(f.users)
	p.mu.Unlock()
	for _, user := range users {
		effective := p.of
		if user.Fresh() {
			effective = p.first
		}
		if err := user.Apply(effective(f.service)); err != nil && !errors.Is(err, ErrClosed) {
			p.log.Error("policy can not be put in force", "service", f.service, "error", err) // it was checked before
		}
	}
}
