package consul

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/policy"
)

// ErrPermission is found in updates' errors when Consul refuses the token.
var ErrPermission = consul.ErrPermission

// Options say for whom a [Source] asks. The zero value is the documented default.
type Options struct {
	// Service is who calls. Its service-defaults have the upstream configuration.
	// Default: nobody, and only what is said to all callers counts.
	Service string
	// Prefix is that of keys in Meta ("innermesh/retry.attempts"), and the key in
	// the Config of proxy-defaults. Default: "innermesh".
	Prefix string
}

// Source tells what Consul's config entries say about calls to a service. It is
// safe for concurrent use. All its watches share the queries for proxy-defaults
// and for the calling service's entry.
type Source struct {
	client *consul.Client
	o      Options
}

// New returns a source that asks through client.
func New(client *consul.Client, o Options) *Source {
	o.Prefix = cmp.Or(o.Prefix, "innermesh")
	return &Source{client: client, o: o}
}

// Update is what a watch tells: the layers in force as far as Consul goes, or
// what is wrong. The receiver may keep it and must not change it.
type Update struct {
	// Entries is what Consul's own words say: the discovery chain, and upstream
	// limits, passive health check, connect timeout.
	Entries policy.Layer
	// Defaults is the policy for all services in the Config of proxy-defaults.
	// Among layers of its kind it belongs below those for one service.
	Defaults policy.Layer
	// Extension is the policy in the Meta of the service's service-defaults.
	Extension policy.Layer
	// Index is Consul's, of the latest answer that the layers, or the error, are
	// made of.
	Index uint64
	// Err is all that is wrong now, joined: Consul can not be asked, or what it
	// was told can not be obeyed. The layers are empty then, and those told before
	// stay in force. See [ErrUnsupported] and [ErrPermission].
	Err error
}

// Layers lists the layers, lowest first.
func (u Update) Layers() []policy.Layer {
	return []policy.Layer{u.Entries, u.Defaults, u.Extension}
}

// Watch tells what Consul says about calls to a service, until ctx ends, whose
// error it returns, or the client is closed. It calls tell from its caller's
// goroutine, first as soon as every entry was answered or refused, then only when
// a layer has changed. tell must not block.
//
// Each layer is refused whole if there is a mistake in it; then the layer that was
// good before stays, an empty one at first, while the others move on. Mistakes are
// told in an update of their own, each once, after that of the layers. An update
// without an error, even if its layers are known already, means that all is well
// again.
//
// Without the permission for a config entry everything else works.
func (s *Source) Watch(ctx context.Context, service string, tell func(Update)) error {
	if service == "" || strings.Trim(service, ".") == "" {
		return fmt.Errorf("watch the config entries of service %s: that is no name", quote(service))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return newFollowing(s, service, tell).run(ctx)
}

// entry is the query for a config entry. Where there is none, Consul answers 404.
func entry(kind, name string) consul.Query {
	return consul.Query{Path: "/v1/config/" + kind + "/" + url.PathEscape(name)}
}

func chainOf(service string, u *upstream) consul.Query {
	return consul.Query{Path: "/v1/discovery-chain/" + url.PathEscape(service), Body: u.overrides(), Read: consul.Cached}
}
