package consul

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
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
	// Hold is how long instances that vanish because Consul has lost its memory are
	// told on, while they register again. Default: 10 s; negative: not at all.
	Hold time.Duration
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
	if s.o.Hold == 0 {
		s.o.Hold = defaultHold
	}
	return s
}

// Watch implements [discovery.Source]. An empty answer after a full one is
// confirmed by Consul's leader before it is believed. What is known stays when
// Consul cannot be asked; the error is told beside it, once. Instances that
// vanish because Consul has lost its memory stay for [Options.Hold] at most.
func (s *Source) Watch(ctx context.Context, service string, tell func(discovery.Update)) error {
	return s.WatchQuery(ctx, discovery.Query{Service: service}, tell)
}

// WatchQuery implements [discovery.Querier]. Consul's servers apply the filter,
// and forward questions about another datacenter to it. Namespaces, partitions
// and peers are not supported.
func (s *Source) WatchQuery(ctx context.Context, q discovery.Query, tell func(discovery.Update)) error {
	return s.WatchKnown(ctx, q, nil, tell)
}

// WatchKnown is WatchQuery for a receiver that goes by what it knows from an
// earlier time while Consul can not be asked: if Consul has lost its memory when
// it answers at last, those stay for [Options.Hold], too. known is asked for them
// when there is trouble before the first answer, at most once; nil knows nothing.
func (s *Source) WatchKnown(ctx context.Context, q discovery.Query, known func() discovery.Snapshot, tell func(discovery.Update)) error {
	service := q.Service
	if service == "" || strings.Trim(service, ".") == "" {
		return fmt.Errorf("watch service %q: that is no name", service)
	}
	if q.Namespace != "" || q.Partition != "" || q.Peer != "" {
		return fmt.Errorf("watch service %q in namespace %q, partition %q, peer %q: %w",
			service, q.Namespace, q.Partition, q.Peer, discovery.ErrUnsupported)
	}
	endpoint := "/v1/health/service/"
	if s.o.Connect {
		endpoint = "/v1/health/connect/"
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var params url.Values
	if q.Filter != "" {
		params = url.Values{"filter": {q.Filter}}
	}
	datacenter := cmp.Or(q.Datacenter, s.o.Datacenter)
	w := &watching{source: s, service: service, datacenter: datacenter, before: known, tell: tell, skipped: map[string]bool{}}
	defer w.end()
	if err := w.locate(ctx); err != nil {
		return err
	}
	return s.client.Watch(ctx, consul.Query{
		Path: endpoint + url.PathEscape(service), Params: params, Datacenter: datacenter,
		Read: consul.Cached, ConfirmEmpty: true,
	}, w.update)
}
