package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
)

// CatalogRegistrar registers instances in the catalog of Consul's servers, for
// programs beside which no agent runs. It is safe for concurrent use.
//
// Each instance gets a node of its own, "innermesh-<ID>", and lives as long as a
// session of that node, which it renews: the servers themselves make it critical
// when the session expires. See decision 21.
type CatalogRegistrar struct {
	client *consul.Client
	log    *slog.Logger
}

// NewCatalogRegistrar returns a registrar that speaks through client, whose
// address is that of a server or of what stands before several; closing the client
// ends the keeping of what it registered. A nil log means slog.Default().
//
// The token needs service:write on the service, and node:write and session:write
// on the prefix "innermesh-".
func NewCatalogRegistrar(client *consul.Client, log *slog.Logger) *CatalogRegistrar {
	if log == nil {
		log = slog.Default()
	}
	return &CatalogRegistrar{client, log}
}

// errProbed is what who wants to be probed gets.
var errProbed = errors.New("nobody probes without an agent: leave it out, signs of life are given")

// Register implements [discovery.Registrar]. What Consul refuses as wrong fails at
// once, and so does a missing permission ([ErrPermission]); everything else is
// tried again until ctx ends.
//
// Who dies without a word is critical after TTL, and after 20 s at least, counted
// anew by a new leader; after DeregisterAfter any living instance of the same
// service, registered in this way too, removes it.
func (r *CatalogRegistrar) Register(ctx context.Context, reg discovery.Registration) (discovery.Registered, error) {
	var faults []error
	if reg.CheckHTTP != "" {
		faults = append(faults, fmt.Errorf("CheckHTTP: %w", errProbed))
	}
	if reg.CheckGRPC != "" {
		faults = append(faults, fmt.Errorf("CheckGRPC: %w", errProbed))
	}
	body, err := newRegistration(reg)
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, fmt.Errorf("register %q: %w", reg.Service, err)
	}
	k := newCatalogKeeper(r, body, reg)
	if err := first(ctx, r.log, reg, k.put); err != nil {
		if k.written || ctx.Err() != nil { // in the last case it has perhaps just been taken
			k.withdraw(ctx)
		}
		return nil, err
	}
	if err := k.start(); err != nil {
		return nil, fmt.Errorf("register %q: %w", reg.Service, err)
	}
	r.log.Info("registered in Consul's catalog", "service", body.Name, "instance", body.ID, "node", k.node)
	return k, nil
}
