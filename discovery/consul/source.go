package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
)

// ErrPermission is found in errors of this package when Consul refuses the token.
var ErrPermission = consul.ErrPermission

// Options say what a [Source] asks for. The zero value is the documented default.
type Options struct {
	// Connect asks for the instances that speak the mesh's mTLS (natively or by
	// a sidecar) instead of those registered under the plain name.
	Connect bool
	// Datacenter is asked. Default: the client's.
	Datacenter string
	// Logger hears of instances that can not be used. Default: slog.Default().
	Logger *slog.Logger
}

// Source tells of the instances that Consul knows, critical ones included. It is
// safe for concurrent use; all watches of a service share one blocking query.
type Source struct {
	client *consul.Client
	o      Options
	log    *slog.Logger
}

// New returns a source that asks through client.
func New(client *consul.Client, o Options) *Source {
	s := &Source{client: client, o: o, log: o.Logger}
	if s.log == nil {
		s.log = slog.Default()
	}
	return s
}

// Watch implements [discovery.Source]. An empty answer after a full one is
// confirmed by Consul's leader before it is believed. What is known stays when
// Consul cannot be asked; the error is told beside it, once.
func (s *Source) Watch(ctx context.Context, service string, tell func(discovery.Update)) error {
	if service == "" || strings.Trim(service, ".") == "" {
		return fmt.Errorf("watch service %q: that is no name", service)
	}
	endpoint := "/v1/health/service/"
	if s.o.Connect {
		endpoint = "/v1/health/connect/"
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w := watching{source: s, service: service, tell: tell, skipped: map[string]bool{}}
	if err := w.locate(ctx); err != nil {
		return err
	}
	return s.client.Watch(ctx, consul.Query{
		Path: endpoint + url.PathEscape(service), Datacenter: s.o.Datacenter,
		Read: consul.Cached, ConfirmEmpty: true,
	}, w.update)
}

// watching is what one watch remembers.
type watching struct {
	source  *Source
	service string
	tell    func(discovery.Update)
	local   string // our own datacenter; empty if all instances are in it

	told    bool // last is what the receiver knows, and no error came after it
	last    discovery.Snapshot
	known   bool            // there was an instance once
	skipped map[string]bool // instances already complained of
}

// locate learns where we are, if a datacenter was named that may be another: its
// instances are dialled by other addresses.
func (w *watching) locate(ctx context.Context) error {
	if !w.source.client.NamesDatacenter(w.source.o.Datacenter) {
		return nil
	}
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		dc, err := w.source.client.Datacenter(ctx)
		if err == nil {
			w.local = dc
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, consul.ErrClosed) {
			return err
		}
		if pause == time.Second { // tell the first failure only
			w.tell(discovery.Update{Err: fmt.Errorf("instances of %q: %w", w.service, err)})
		}
		if err := wait(ctx, rand.N(pause)); err != nil {
			return err
		}
	}
}

// update tells an answer if it says something new: outputs of checks and indexes
// change more often than instances do.
func (w *watching) update(r consul.Result) {
	instances, unusable, err := decode(r.Body, w.local)
	if err = errors.Join(r.Err, err); err != nil {
		w.told = false
		w.tell(discovery.Update{Err: fmt.Errorf("instances of %q: %w", w.service, err)})
		return
	}
	for _, id := range unusable {
		if !w.skipped[id] {
			w.skipped[id] = true
			w.source.log.Warn("instance left out: it has no address and port to dial", "service", w.service, "instance", id)
		}
	}
	w.known = w.known || len(instances)+len(unusable) > 0
	next := discovery.Snapshot{Instances: instances, Unknown: !w.known}
	if w.told && next.Equal(w.last) {
		return
	}
	w.told, w.last = true, next
	w.tell(discovery.Update{Snapshot: next})
}
