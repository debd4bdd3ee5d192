package consul

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net/url"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
)

// catalogKeeper keeps one instance registered in the catalog.
type catalogKeeper struct {
	keeping
	body   registration
	node   string
	ttl    time.Duration // of the session
	forget time.Duration
	graves graves

	// Who has the turn may touch these.
	session string // the ID; empty: there is none
	name    string // of the session
	written bool   // the catalog has the instance, if perhaps without a session
}

// ours has what a registrar writes go where the servers are that it asks.
var ours = url.Values{"dc": {""}}

func newCatalogKeeper(r *CatalogRegistrar, body registration, reg discovery.Registration) *catalogKeeper {
	return &catalogKeeper{
		keeping: newKeeping(r.client, r.log, reg), body: body, node: nodePrefix + body.ID,
		ttl:    sessionTTL(cmp.Or(reg.TTL, defaultTTL)),
		forget: max(cmp.Or(reg.DeregisterAfter, 10*time.Minute), time.Minute),
	}
}

// start begins to keep the instance; the goroutines end with Deregister or with
// the client.
func (k *catalogKeeper) start() error {
	loops := []func(context.Context){k.keep}
	if k.reporter != nil {
		loops = append(loops, func(ctx context.Context) {
			k.whenChanged(ctx, func() { _ = k.report(ctx) }) // keep does it again
		})
	}
	return k.run(loops...)
}

// keep renews the session and makes sure that the catalog knows the instance,
// until ctx ends.
func (k *catalogKeeper) keep(ctx context.Context) {
	failing := false
	nextDig := time.Now().Add(mrand.N(digEvery))
	for pause := k.pace(); wait(ctx, pause*4/5+mrand.N(pause/5+1)) == nil; {
		again, err := k.reconcile(ctx)
		if ctx.Err() != nil {
			return
		}
		switch pause = k.pace(); {
		case errors.Is(err, consul.ErrPermission):
			pause = forbidden
		case err != nil || again:
			pause = troubled
		}
		if again {
			k.log.Info("registered again: Consul's catalog did not know the instance as it is", "instance", k.id)
		}
		if (err != nil) != failing {
			if failing = err != nil; failing {
				k.log.Warn("the registration cannot be kept for now", "instance", k.id, "error", err)
			} else {
				k.log.Info("the registration is kept again", "instance", k.id)
			}
		}
		if err == nil && time.Now().After(nextDig) {
			k.bury(ctx)
			nextDig = time.Now().Add(digEvery)
		}
	}
}

// pace is the pause between two signs of life, six in the time that they last.
func (k *catalogKeeper) pace() time.Duration { return min(checkEvery, k.ttl/3) }

// reconcile gives a sign of life and makes the catalog know the instance as it is.
// again says that the instance had to be registered.
func (k *catalogKeeper) reconcile(ctx context.Context) (again bool, err error) {
	leave, err := k.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	var checks []catalogCheck // none: it is not known as it is
	lives, err := k.renew(ctx)
	if err == nil && lives {
		checks, err = k.knows(ctx)
	}
	if err != nil {
		return false, err
	}
	if checks == nil {
		err = k.put(ctx)
		return err == nil, err
	}
	k.look(checks)
	state, _ := find(checks, stateID(k.id))
	if health, _ := k.health(); health.String() != state.Status {
		return false, k.report(ctx)
	}
	return false, nil
}

// renew says whether the session is still there.
func (k *catalogKeeper) renew(ctx context.Context) (bool, error) {
	if k.session == "" {
		return false, nil
	}
	ctx, cancel := k.soon(ctx)
	defer cancel()
	err := k.client.Put(ctx, "/v1/session/renew/"+k.session, ours, nil)
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("say that %q lives: %w", k.id, err)
	}
	return true, nil
}

// soon bounds a question: the next sign of life must not wait for it too long.
func (k *catalogKeeper) soon(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, k.ttl)
}

// knows returns the checks of the instance, or none if the catalog does not know it
// as it is.
func (k *catalogKeeper) knows(ctx context.Context) ([]catalogCheck, error) {
	ctx, cancel := k.soon(ctx)
	defer cancel()
	var node catalogNode
	if err := k.read(ctx, "/v1/catalog/node-services/", &node); err != nil {
		return nil, err
	}
	var checks []catalogCheck
	if err := k.read(ctx, "/v1/health/node/", &checks); err != nil {
		return nil, err
	}
	lives, _ := find(checks, livesID(k.id))
	_, states := find(checks, stateID(k.id))
	if !node.has(k.body) || !states || lives.Definition.SessionName != k.name || lives.Status != "passing" {
		return nil, nil
	}
	return checks, nil
}

// read asks about the node.
func (k *catalogKeeper) read(ctx context.Context, path string, into any) error {
	res, err := k.client.Get(ctx, path+url.PathEscape(k.node), ours)
	if err != nil {
		return err
	}
	if !res.Found {
		return nil
	}
	if err := json.Unmarshal(res.Body, into); err != nil {
		return fmt.Errorf("look for %q: %w: %w", k.id, consul.ErrMalformed, err)
	}
	return nil
}

// put registers the instance with a check that is critical, and begins a session,
// with which the servers make it pass: so it never passes without one. Each
// session has a name of its own, or the end of one before, of this program or of
// who had the ID before, would be taken for its end. The caller has the turn, or is
// the only one yet.
func (k *catalogKeeper) put(ctx context.Context) error {
	before := k.session
	k.session, k.name = "", nodePrefix+k.id+"-"+rand.Text()
	health, output := k.health()
	entry := newEntry(k.body)
	entry.Checks = []catalogCheck{
		{
			CheckID: livesID(k.id), Name: "gives signs of life", Type: "session", Status: "critical", ServiceID: k.id,
			Definition: definition{SessionName: k.name, Forget: k.forget.String()},
		},
		k.stateCheck(health, output),
	}
	if own := k.state.ownReason(); own != "" {
		entry.Checks = append(entry.Checks, k.maintenanceCheck(own))
	}
	if err := k.client.Put(ctx, "/v1/catalog/register", ours, entry); err != nil {
		return fmt.Errorf("register %q in Consul's catalog: %w", k.id, err)
	}
	k.written = true
	if err := k.begin(ctx); err != nil {
		return fmt.Errorf("register %q in Consul's catalog: %w", k.id, err)
	}
	if before != "" {
		_ = k.client.Put(ctx, "/v1/session/destroy/"+before, ours, nil) // else it expires
	}
	return nil
}

// begin begins a session, which holds nothing.
func (k *catalogKeeper) begin(ctx context.Context) error {
	question := struct {
		Node       string   `json:"Node"`
		Name       string   `json:"Name"`
		TTL        string   `json:"TTL"`
		NodeChecks []string `json:"NodeChecks"`
		Behavior   string   `json:"Behavior"`
		LockDelay  string   `json:"LockDelay"`
	}{k.node, k.name, k.ttl.String(), []string{}, "release", "0s"}
	answer, err := k.client.PutFor(ctx, "/v1/session/create", ours, question)
	if err != nil {
		return err
	}
	var session struct {
		ID string `json:"ID"`
	}
	if err := json.Unmarshal(answer, &session); err != nil || session.ID == "" {
		return fmt.Errorf("begin a session: %w", consul.ErrMalformed)
	}
	k.session = session.ID
	return nil
}
