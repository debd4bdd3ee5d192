package consul

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/innermesh/innermesh/internal/consul"
)

// leavingReason marks a maintenance that is our way of leaving: who comes back
// under the same ID is not in maintenance.
const leavingReason = "innermesh: leaving"

// nodeCheck is the check by which an agent holds its whole node.
const nodeCheck = "_node_maintenance"

// Maintenance implements [discovery.Registered] by the flag that "consul maint"
// sets. Who clears it there ends the maintenance.
func (k *keeper) Maintenance(ctx context.Context, on bool, reason string) error {
	leave, err := k.enter(ctx)
	if err != nil {
		return fmt.Errorf("maintenance of %q: %w", k.body.ID, err)
	}
	defer leave()
	if reason = cmp.Or(reason, "in maintenance"); !on {
		reason = ""
	}
	k.state.setOwn(reason)
	if err := k.maintain(ctx, on, reason); err != nil {
		return err
	}
	k.state.hear(reason, k.maintained)
	return nil
}

// maintain sets or clears the flag.
func (k *keeper) maintain(ctx context.Context, on bool, reason string) error {
	params := url.Values{"enable": {strconv.FormatBool(on)}}
	if on {
		params.Set("reason", reason)
	}
	if err := k.client.Put(ctx, "/v1/agent/service/maintenance/"+url.PathEscape(k.body.ID), params, nil); err != nil {
		return fmt.Errorf("maintenance of %q: %w", k.body.ID, err)
	}
	return nil
}

// held is why the agent holds the instance, and its node: nothing if it does not.
func (k *keeper) held(ctx context.Context) (service, node string, err error) {
	own := "_service_maintenance:" + k.body.ID
	filter := fmt.Sprintf("CheckID == %q or CheckID == %q", own, nodeCheck)
	res, err := k.client.Get(ctx, "/v1/agent/checks", url.Values{"filter": {filter}})
	if err != nil {
		return "", "", err
	}
	var checks map[string]struct {
		Notes string `json:"Notes"`
	}
	if err := json.Unmarshal(res.Body, &checks); err != nil {
		return "", "", fmt.Errorf("maintenance of %q: %w: %w", k.body.ID, consul.ErrMalformed, err)
	}
	if c, ok := checks[own]; ok {
		service = cmp.Or(c.Notes, "in maintenance")
	}
	if c, ok := checks[nodeCheck]; ok {
		node = cmp.Or(c.Notes, "its node is in maintenance")
	}
	return service, node, nil
}

// look tells the program when somebody has begun a maintenance or ended it.
func (k *keeper) look(ctx context.Context) error {
	service, node, err := k.held(ctx)
	if err != nil {
		return err
	}
	if service == leavingReason {
		return nil
	}
	if service == "" {
		k.state.setOwn("") // if it was ours, somebody has ended it
	}
	k.state.hear(cmp.Or(service, node), k.maintained)
	return nil
}
