package parity_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	discoveryconsul "github.com/innermesh/innermesh/discovery/consul"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/parity"
	"github.com/innermesh/innermesh/internal/route"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
	policyconsul "github.com/innermesh/innermesh/policy/consul"
)

// subject is innermesh: what a call goes by, as package mesh puts it together.
type subject struct {
	place  place
	layers []policy.Layer

	directory *upstream.Directory
	upstream  *upstream.Upstream
	plan      *upstream.Plan
}

// withDefaults is the subject of a program that has these defaults. The subject
// before must not be used any more.
func (s *subject) withDefaults(defaults policy.Service) (*subject, error) {
	own := policy.Layer{Name: "Options.Defaults", Service: defaults}
	if err := s.upstream.Apply(policy.Merge(slices.Insert(slices.Clone(s.layers), 1, own)...)); err != nil {
		return nil, err
	}
	return &subject{s.place, s.layers, s.directory, s.upstream, s.upstream.Plan()}, nil
}

// place is where the subject is.
type place struct{ datacenter, trustDomain string }

// compile asks Consul what a call of the caller would go by, and waits until
// everything is known that can be. It fails if the entries are refused.
func (b *bench) compile(ctx context.Context, t *testing.T, q parity.Question) (*subject, error) {
	t.Helper()
	client, err := consul.New(consul.Options{Address: b.consul.HTTPAddr, Wait: wait, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	t.Cleanup(client.Close)
	layers, err := layers(ctx, client, q)
	if err != nil {
		return nil, err
	}
	effective := policy.Merge(layers...)
	tel, err := telemetry.New(telemetry.Options{}, q.Caller)
	if err != nil {
		return nil, err
	}
	source := &witness{Source: discoveryconsul.New(client, discoveryconsul.Options{Logger: slog.New(slog.DiscardHandler)})}
	d := upstream.NewDirectory(upstream.Options{
		Source: source, Telemetry: tel, Logger: slog.New(slog.DiscardHandler), Caller: "parity", Idle: time.Hour,
		Follow: func(*upstream.Upstream) {}, Provisional: func(string) policy.Effective { return effective },
	})
	t.Cleanup(d.Close)
	if err := upstream.Check(q.Service, effective); err != nil {
		return nil, err
	}
	u, err := d.Get(q.Service)
	if err != nil {
		return nil, err
	}
	if err := u.Apply(effective); err != nil {
		return nil, err
	}
	return &subject{b.place, layers, d, u, u.Plan()}, source.wait(ctx, len(u.Clusters()))
}

// layers are those of package mesh, as far as Consul's entries go.
func layers(ctx context.Context, client *consul.Client, q parity.Question) ([]policy.Layer, error) {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	var got *policyconsul.Update
	err := policyconsul.New(client, policyconsul.Options{Service: q.Caller}).Watch(ctx, q.Service, func(u policyconsul.Update) {
		if got == nil || u.Err != nil { // what is wrong is told in the same breath, after what is not
			got = &u
		}
		enough()
	})
	switch {
	case got == nil:
		return nil, fmt.Errorf("nothing is told: %w", err)
	case got.Err != nil:
		return nil, got.Err
	}
	pinned, err := pinned(q.Config)
	return []policy.Layer{
		{Name: builtIn, Service: policy.Default()},
		got.Entries, got.Defaults, got.Extension,
		{Name: "Options.Pinned", Service: pinned},
	}, err
}

// wait bounds blocking queries: Consul keeps the connections of those that nobody
// waits for any more until they end by themselves, and takes 200 from one caller.
const wait = time.Second

const builtIn = "built-in"

// pinned is what a program says in its own options that would be said of an
// upstream in the registration of a proxy.
func pinned(config map[string]any) (s policy.Service, err error) {
	for key, value := range config {
		switch value := value.(type) {
		case string: // protocol
			s.HTTP.Protocol = value
		case int: // connect_timeout_ms
			s.Timeout.Connect = policy.Duration(value) * policy.Duration(time.Millisecond)
		case map[string]any:
			if most, ok := value["max_connections"].(int); ok {
				s.Limits = policy.Limits{Connections: policy.Limit(most), Pending: 1024, Concurrency: 1024} // it replaces all
			} else if most, ok := value["max_failures"].(int); ok {
				s.Ejection = policy.Ejection{Failures: most, Base: policy.Duration(30 * time.Second)}
			} else {
				err = errors.Join(err, fmt.Errorf("config %s: not known", key))
			}
		default:
			err = errors.Join(err, fmt.Errorf("config %s: not known", key))
		}
	}
	return s, err
}

// Decide implements [parity.Subject].
func (s *subject) Decide(r parity.Request) (parity.Decision, error) {
	req, err := request(s.upstream.Service, r)
	if err != nil {
		return parity.Decision{}, err
	}
	asked := facts(req)
	_, path := asked.Line()
	route := s.plan.Match(asked)
	words := s.route(route)
	d := parity.Decision{
		Route: route.Number, Path: route.Path(path),
		Timeout: words.Timeout, IdleTimeout: words.IdleTimeout, Retry: words.Retry, Hash: words.Hash,
	}
	if query := req.URL.RawQuery; query != "" {
		d.Path += "?" + query
	}
	var sum float64
	for _, to := range route.Destinations {
		sum += float64(to.Weight)
	}
	for _, to := range route.Destinations {
		way := parity.Way{Target: s.key(to.Clusters()[0]), Share: float64(to.Weight) / sum}
		way.Header, way.Answer = r.Header.Clone(), r.Answer.Clone()
		to.Request.HTTP(way.Header)
		route.Request.HTTP(way.Header)
		to.Response.HTTP(way.Answer)
		route.Response.HTTP(way.Answer)
		d.Legs = append(d.Legs, way)
	}
	return d, nil
}

// Draw implements [parity.Subject].
func (s *subject) Draw(r parity.Request, retry bool) (parity.Drawn, error) {
	req, err := request(s.upstream.Service, r)
	if err != nil {
		return parity.Drawn{}, err
	}
	asked := facts(req)
	from := route.Origin{Source: s.upstream.Caller()}
	to := s.plan.Match(asked).Pick(asked, from)
	drawn := parity.Drawn{Leg: s.key(to.Clusters()[0])}
	info := balancer.Info{Now: mono.Now()}
	if !to.Hash.None() {
		info.Key, _ = to.Hash.Sum(asked, from)
	}
	pick, ok, err := attempt(to, info)
	if err != nil || !ok {
		return drawn, err
	}
	drawn.Level, drawn.Address = s.key(pick.Cluster), pick.Address
	if retry {
		info.Tried = append(info.Tried, pick.Load())
		if pick, ok, err = attempt(to, info); err != nil || !ok {
			return drawn, err
		}
		drawn.Before, drawn.Level, drawn.Address = drawn.Level, s.key(pick.Cluster), pick.Address
	}
	return drawn, nil
}

// attempt picks an instance and has it answer well. ok is false if nobody is
// healthy.
func attempt(to *upstream.Destination, info balancer.Info) (pick cluster.Pick, ok bool, err error) {
	pick, err = to.Pick(info)
	switch {
	case errors.Is(err, discovery.ErrNoHealthyInstance), errors.Is(err, discovery.ErrNoInstances), errors.Is(err, discovery.ErrUnknownService):
		return pick, false, nil
	case err != nil:
		return pick, false, err
	}
	pick.Judge(info.Now, time.Millisecond, call.Outcome{Reason: call.OK})
	pick.Release()
	return pick, true, nil
}
