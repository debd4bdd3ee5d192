package consul

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
)

// keeper keeps one instance registered.
type keeper struct {
	keeping
	body  registration
	ttl   time.Duration // 0: the agent probes, signs of life are not wanted
	lived time.Time     // the last sign of life; who has the turn may touch it
}

const (
	// checkEvery is how long the agent may be silent as long as it knows the
	// instance as it is; forgetting or another content it tells at once.
	checkEvery = 5 * time.Second
	// troubled is the pause while something is wrong: an agent that has forgotten
	// is to know again a second after it is back. It also keeps two programs that
	// use one ID from replacing each other without a rest.
	troubled = time.Second
	// forbidden is the pause while the token is refused; rights reach agents
	// within 30 s.
	forbidden = 30 * time.Second
	// atLeast is the shortest pause, whatever the TTL.
	atLeast = 100 * time.Millisecond
	// parting is how long a deregistration is tried.
	parting = 5 * time.Second
)

func newKeeper(r *Registrar, body registration, reg discovery.Registration) *keeper {
	k := &keeper{keeping: newKeeping(r.client, r.log, reg), body: body}
	if body.Checks[0].TTL != "" {
		k.ttl = cmp.Or(reg.TTL, defaultTTL)
	}
	return k
}

// start begins to keep the instance; the goroutines end with Deregister or with
// the client.
func (k *keeper) start() error {
	loops := []func(context.Context){k.keep}
	if k.reporter != nil && k.ttl > 0 {
		loops = append(loops, k.follow)
	}
	return k.run(loops...)
}

// keep makes sure that the agent knows the instance, until ctx ends. It spends
// its pauses in the agent: a question that is answered when something changes,
// or broken off when the agent ends.
func (k *keeper) keep(ctx context.Context) {
	failing := false
	hash := "" // of what the agent knows, once that is right
	for {
		asked, start := hash, time.Now()
		next, again, err := k.reconcile(ctx, asked)
		if ctx.Err() != nil {
			return
		}
		hash = next
		pause := k.pace() - time.Since(start) // nothing, as a rule: the agent has waited
		switch {
		case errors.Is(err, consul.ErrPermission):
			pause = forbidden
		case err != nil || again:
			pause = min(k.pace(), troubled)
		case asked == "" && hash != "":
			pause = 0
		}
		if again {
			k.log.Info("registered again: the Consul agent did not know the instance as it is", "instance", k.body.ID)
		}
		if (err != nil) != failing {
			if failing = err != nil; failing {
				k.log.Warn("the registration cannot be kept for now", "instance", k.body.ID, "error", err)
			} else {
				k.log.Info("the registration is kept again", "instance", k.body.ID)
			}
		}
		if pause > 0 && wait(ctx, pause*4/5+rand.N(pause/5+1)) != nil {
			return
		}
	}
}

// pace is the pause between two looks. Signs of life are given three times in a TTL.
func (k *keeper) pace() time.Duration {
	if k.ttl == 0 {
		return checkEvery
	}
	return max(min(checkEvery, k.ttl/3), atLeast)
}

// reconcile makes the agent know the instance as it is. With the hash of what it
// knew it returns when that changes, or after a pause. again says that the
// instance had to be registered.
func (k *keeper) reconcile(ctx context.Context, hash string) (next string, again bool, err error) {
	next, knows, err := k.knows(ctx, hash)
	if err != nil {
		return "", false, err
	}
	leave, err := k.enter(ctx)
	if err != nil {
		return "", false, err
	}
	defer leave()
	if !knows {
		err = k.put(ctx)
		return "", err == nil, err
	}
	if err := k.look(ctx); err != nil {
		return next, false, err
	}
	if k.ttl == 0 || time.Since(k.lived) < k.ttl/3-k.pace()/2 {
		return next, false, nil
	}
	err = k.live(ctx)
	if isForgotten(err) { // the service is there and its check is not
		err = k.put(ctx)
		return "", err == nil, err
	}
	return next, false, err
}

func (k *keeper) knows(ctx context.Context, hash string) (next string, ok bool, err error) {
	res, err := k.client.GetChanged(ctx, "/v1/agent/service/"+url.PathEscape(k.body.ID), hash, k.pace())
	if err != nil || !res.Found {
		return "", false, err
	}
	var now known
	if err := json.Unmarshal(res.Body, &now); err != nil {
		return "", false, fmt.Errorf("look for %q: %w: %w", k.body.ID, consul.ErrMalformed, err)
	}
	return res.Hash, now.equals(k.body), nil
}

// put registers the instance and gives a sign of life at once: an agent
// remembers the state of a check over a restart only if it was told one. The
// caller has the turn, or is the only one yet.
//
// Registering anew ends maintenance, whoever began it, so it is begun again.
func (k *keeper) put(ctx context.Context) error {
	held, _, err := k.held(ctx)
	if err != nil {
		return fmt.Errorf("register %q with the Consul agent: %w", k.body.ID, err)
	}
	if held == leavingReason { // of ourselves, or of who had the ID before
		held = ""
	}
	held = cmp.Or(held, k.state.ownReason())
	if k.ttl == 0 && k.state.isLeaving() {
		held = leavingReason
	}
	body := k.body
	if k.ttl > 0 {
		health, _ := k.health()
		if held != "" {
			health = discovery.Critical
		}
		body.Checks = slices.Clone(body.Checks)
		body.Checks[0].Status = health.String()
	}
	err = k.client.Put(ctx, "/v1/agent/service/register", url.Values{"replace-existing-checks": {"true"}}, body)
	if err != nil {
		return fmt.Errorf("register %q with the Consul agent: %w", k.body.ID, err)
	}
	if held != "" {
		if err := k.maintain(ctx, true, held); err != nil {
			return err
		}
	}
	return k.live(ctx)
}

// isForgotten says that the agent does not know what a request is about. Of a
// check that is missing some agents say so with a 500.
func isForgotten(err error) bool {
	status, ok := errors.AsType[*consul.StatusError](err)
	return ok && (status.Code == http.StatusNotFound || status.Code == http.StatusInternalServerError)
}

func isNotFound(err error) bool {
	status, ok := errors.AsType[*consul.StatusError](err)
	return ok && status.Code == http.StatusNotFound
}
