package consul

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/innermesh/innermesh/discovery"
)

// report tells the catalog how the instance is. The caller has the turn.
func (k *catalogKeeper) report(ctx context.Context) error {
	health, output := k.health()
	if err := k.write(ctx, k.stateCheck(health, output)); err != nil {
		return fmt.Errorf("say how %q is: %w", k.id, err)
	}
	return nil
}

func (k *catalogKeeper) stateCheck(health discovery.Health, output string) catalogCheck {
	return catalogCheck{
		CheckID: stateID(k.id), Name: "says how it is", Status: health.String(), Output: output, ServiceID: k.id,
	}
}

func (k *catalogKeeper) maintenanceCheck(reason string) catalogCheck {
	return catalogCheck{
		CheckID: maintenanceID(k.id), Name: "Service Maintenance Mode", Status: "critical", Notes: reason, ServiceID: k.id,
	}
}

// write writes one check.
func (k *catalogKeeper) write(ctx context.Context, c catalogCheck) error {
	return k.client.Put(ctx, "/v1/catalog/register", ours, catalogEntry{
		Node: k.node, Address: k.body.Address, SkipNodeUpdate: true, Checks: []catalogCheck{c},
	})
}

// Drain implements [discovery.Registered]: the instance says that it is critical,
// and the catalog is asked until it says so, too.
func (k *catalogKeeper) Drain(ctx context.Context) error {
	k.state.leave()
	if err := persist(ctx, k.sayLeaving); err != nil {
		return fmt.Errorf("say that %q leaves: %w", k.id, err)
	}
	err := awaitUnseen(ctx, k.client, k.service, k.id, net.JoinHostPort(k.body.Address, strconv.Itoa(k.body.Port)))
	if err != nil {
		return fmt.Errorf("see that %q leaves: %w", k.id, err)
	}
	return nil
}

func (k *catalogKeeper) sayLeaving(ctx context.Context) error {
	leave, err := k.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err = k.report(ctx); isForgotten(err) {
		err = k.put(ctx)
	}
	return err
}

// Maintenance implements [discovery.Registered] by a check with the name of the
// agents' flag. Who removes it ends the maintenance.
func (k *catalogKeeper) Maintenance(ctx context.Context, on bool, reason string) error {
	leave, err := k.enter(ctx)
	if err != nil {
		return fmt.Errorf("maintenance of %q: %w", k.id, err)
	}
	defer leave()
	if reason = cmp.Or(reason, "in maintenance"); !on {
		reason = ""
	}
	k.state.setOwn(reason)
	if on {
		if err = k.write(ctx, k.maintenanceCheck(reason)); isForgotten(err) {
			err = k.put(ctx)
		}
	} else {
		err = k.remove(ctx, maintenanceID(k.id))
	}
	if err != nil {
		return fmt.Errorf("maintenance of %q: %w", k.id, err)
	}
	k.state.hear(reason, k.maintained)
	return nil
}

// look tells the program when somebody has begun a maintenance or ended it.
func (k *catalogKeeper) look(checks []catalogCheck) {
	service, node := "", ""
	if c, ok := find(checks, maintenanceID(k.id)); ok {
		service = cmp.Or(c.Notes, "in maintenance")
	}
	if c, ok := find(checks, nodeCheck); ok {
		node = cmp.Or(c.Notes, "its node is in maintenance")
	}
	if service == "" {
		k.state.setOwn("") // if it was ours, somebody has ended it
	}
	k.state.hear(cmp.Or(service, node), k.maintained)
}

// Deregister implements [discovery.Registered]: the node goes, and with it its
// session. What does not succeed is tried again for 5 s at most.
func (k *catalogKeeper) Deregister(ctx context.Context) error {
	return k.leave(ctx, func(ctx context.Context) error { return k.remove(ctx, "") })
}

// withdraw removes what nobody has been told of. It is tried once.
func (k *catalogKeeper) withdraw(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), parting/5)
	defer cancel()
	_ = k.remove(ctx, "") // else it is critical in its time, for want of signs of life
}

// remove removes a check, or the node with all that it has. What is not there is
// no error to Consul.
func (k *catalogKeeper) remove(ctx context.Context, check string) error {
	return k.client.Put(ctx, "/v1/catalog/deregister", ours, struct {
		Node    string `json:"Node"`
		CheckID string `json:"CheckID,omitempty"`
	}{k.node, check})
}
