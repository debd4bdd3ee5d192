package jwt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/innermesh/innermesh/internal/consul"
)

// Providers are those in force. It is safe for concurrent use. Close it.
type Providers struct {
	log    *slog.Logger
	all    atomic.Pointer[table]
	ctx    context.Context //nolint:containedctx // of its goroutines; it ends with Close
	cancel context.CancelFunc
	loops  sync.WaitGroup

	mu     sync.Mutex // one change at a time
	told   string     // the last faults in the log
	closed bool
}

// table is immutable.
type table struct {
	by     map[string]*provider
	forged []string // headers that callers may not send, canonical
}

// provider is one of them, ready for use.
type provider struct {
	Provider
	keys interface {
		current(ctx context.Context) (keys, error)
		// newer returns nil if there are no others than the known ones.
		newer(ctx context.Context, known keys) (keys, error)
	}
	seen      seen
	broken    error
	locations []Location
	stop      context.CancelFunc // of what fetches its keys; nil if nothing does
}

// New returns none. log hears of providers that can not be obeyed and of keys
// that can not be had, once each; nil is slog.Default().
func New(log *slog.Logger) *Providers {
	if log == nil {
		log = slog.Default()
	}
	p := &Providers{log: log}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.all.Store(&table{})
	return p
}

// Accept puts providers in force instead of those before. One that can not be
// obeyed refuses its tokens, and the log says why. What did not change keeps its
// keys.
func (p *Providers) Accept(list []Provider) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	before, next := p.all.Load(), &table{by: make(map[string]*provider, len(list))}
	var faults []error
	for _, config := range list {
		one := before.by[config.Name]
		if one == nil || !reflect.DeepEqual(one.Provider, config) { // plain data of a config entry
			one = p.open(config)
		}
		next.by[config.Name] = one
		if one.broken != nil {
			faults = append(faults, fmt.Errorf("provider %q: %w", config.Name, one.broken))
		}
		if f := config.Forwarding; f != nil {
			next.forged = append(next.forged, http.CanonicalHeaderKey(f.HeaderName))
		}
	}
	p.all.Store(next)
	for name, old := range before.by {
		if next.by[name] != old && old.stop != nil {
			old.stop()
		}
	}
	text := ""
	if err := errors.Join(faults...); err != nil {
		text = err.Error()
	}
	if text != "" && text != p.told {
		p.log.Error("providers of JSON web tokens that can not be obeyed: their tokens are refused", "error", text)
	}
	p.told = text
}

// open makes a provider ready. The caller holds the lock.
func (p *Providers) open(config Provider) *provider {
	out := &provider{Provider: config, locations: config.Locations}
	if len(out.locations) == 0 {
		out.locations = byDefault()
	}
	if out.broken = config.Validate(); out.broken != nil {
		return out
	}
	if set := config.JSONWebKeySet; set.Local != nil {
		document, err := set.Local.read()
		var found keys
		if err == nil {
			found, err = parseKeys(document)
		}
		if out.keys = (local{found, err}); err != nil {
			out.broken = fmt.Errorf("JSONWebKeySet.Local: %w", err)
		}
		return out
	}
	fetched, err := newRemote(config.Name, *config.JSONWebKeySet.Remote, p.log)
	if err != nil {
		out.broken = err
		return out
	}
	var ctx context.Context
	ctx, out.stop = context.WithCancel(p.ctx)
	out.keys = fetched
	p.loops.Go(func() { fetched.run(ctx) })
	return out
}

// Follow puts in force what Consul says, until ctx ends, whose error it returns,
// or the client is closed. The token needs mesh:read, or service:write on any
// service. told, if not nil, hears of each answer that was put in force, and of
// each reason why there is none.
func (p *Providers) Follow(ctx context.Context, client *consul.Client, told func(body []byte, err error)) error {
	return client.Watch(ctx, consul.Query{Path: "/v1/config/jwt-provider"}, func(r consul.Result) {
		err := r.Err
		var list []Provider
		if err == nil && r.Found {
			list, err = Decode(r.Body)
			if err != nil {
				p.log.Error("providers of JSON web tokens can not be read; those before stay in force", "error", err)
			}
		}
		if err == nil {
			p.Accept(list)
		}
		if told != nil {
			told(r.Body, err)
		}
	})
}

// Any says whether there are any.
func (p *Providers) Any() bool { return len(p.all.Load().by) > 0 }

// Names are those in force, sorted.
func (p *Providers) Names() []string { return slices.Sorted(maps.Keys(p.all.Load().by)) }

// Close ends the fetching of keys and returns when its goroutines have ended.
// Those that are known go on being used.
func (p *Providers) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.loops.Wait()
}
