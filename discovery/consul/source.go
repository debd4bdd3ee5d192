package consul

import (
	"context"
	"log/slog"
	"net/url"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
)

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
// confirmed by Consul's leader before it is believed.
func (s *Source) Watch(ctx context.Context, service string, tell func(discovery.Update)) error {
	endpoint := "/v1/health/service/"
	if s.o.Connect {
		endpoint = "/v1/health/connect/"
	}
	local := ""
	known := false
	skipped := make(map[string]bool)
	return s.client.Watch(ctx, consul.Query{
		Path: endpoint + url.PathEscape(service), Datacenter: s.o.Datacenter, Read: consul.Cached, ConfirmEmpty: true,
	}, func(r consul.Result) {
		if r.Err != nil {
			tell(discovery.Update{Err: r.Err})
			return
		}
		if s.o.Datacenter != "" && local == "" { // only then can an instance be remote
			local, _ = s.client.Datacenter(ctx) // unknown for now: take addresses as they are
		}
		instances, unusable, err := decode(r.Body, local)
		if err != nil {
			tell(discovery.Update{Err: err})
			return
		}
		for _, u := range unusable {
			if !skipped[u] {
				skipped[u] = true
				s.log.Warn("instance left out: it has no address to dial", "service", service, "instance", u)
			}
		}
		known = known || len(instances) > 0
		tell(discovery.Update{Snapshot: discovery.Snapshot{Instances: instances, Unknown: len(instances) == 0 && !known}})
	})
}
