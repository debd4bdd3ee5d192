package mesh

import (
	"context"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/policy"
)

// kvDocuments are policy documents in Consul's KV store.
type kvDocuments struct {
	client *consul.Client
	prefix string
}

func (d *kvDocuments) name() string { return "consul kv " + d.prefix }
func (d *kvDocuments) shared() bool { return true }

// watch follows the document of a service, or that of all.
func (d *kvDocuments) watch(ctx context.Context, service string, tell func(policyUpdate)) error {
	key, place := d.prefix+"/defaults", slotSharedDocument
	if service != "" {
		key, place = d.prefix+"/services/"+service, slotDocument
	}
	what := "consul kv " + key
	return d.client.WatchKV(ctx, key, func(kv consul.KV) {
		if kv.Err != nil {
			// The client has told; what was read before stays in force. Consul's
			// refusal is an answer too, a silent Consul is none.
			tell(policyUpdate{what: what, unknown: consul.Silent(kv.Err)})
			return
		}
		u := policyUpdate{what: what, found: kv.Found, index: kv.Index}
		layer := policy.Layer{Name: what}
		if kv.Found {
			layer.Service, u.err = policy.Decode(kv.Value, what)
		}
		u.layers = map[slot]policy.Layer{place: layer}
		tell(u)
	})
}
