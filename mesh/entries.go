package mesh

import (
	"context"
	"reflect"
	"strconv"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/policy"
	policyconsul "github.com/innermesh/innermesh/policy/consul"
)

// entries are Consul's config entries and what is written beside them.
type entries struct{ source *policyconsul.Source }

func (e *entries) name() string { return "consul config entries" }
func (e *entries) shared() bool { return false } // all that they say is said of a service

func (e *entries) watch(ctx context.Context, service string, tell func(policyUpdate)) error {
	what := "consul config entries of " + strconv.Quote(service)
	return e.source.Watch(ctx, service, func(u policyconsul.Update) {
		if u.Err != nil {
			// The source has told the good layers before. A refusal is an answer
			// too, a silent Consul is none.
			tell(policyUpdate{what: what, index: u.Index, err: u.Err, unknown: consul.Silent(u.Err)})
			return
		}
		layers := map[slot]policy.Layer{slotEntries: u.Entries, slotSharedConfig: u.Defaults, slotMeta: u.Extension}
		found := false
		for _, l := range layers {
			found = found || !reflect.ValueOf(l.Service).IsZero()
		}
		tell(policyUpdate{what: what, index: u.Index, layers: layers, found: found})
	})
}
