package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
)

// Drain implements [discovery.Registered]: the instance becomes critical, by its
// own sign of life or, if the agent probes it, by maintenance. Then the catalog
// is asked until it says so, too.
func (k *keeper) Drain(ctx context.Context) error {
	k.state.leave()
	if err := persist(ctx, k.sayLeaving); err != nil {
		return fmt.Errorf("say that %q leaves: %w", k.body.ID, err)
	}
	err := awaitUnseen(ctx, k.client, k.body.Name, k.body.ID, net.JoinHostPort(k.body.Address, strconv.Itoa(k.body.Port)))
	if err != nil {
		return fmt.Errorf("see that %q leaves: %w", k.body.ID, err)
	}
	return nil
}

func (k *keeper) sayLeaving(ctx context.Context) error {
	leave, err := k.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if k.ttl == 0 {
		err = k.maintain(ctx, true, leavingReason)
	} else {
		err = k.live(ctx)
	}
	if isForgotten(err) { // the catalog may still have it
		err = k.put(ctx)
	}
	return err
}

// awaitUnseen asks the catalog until it shows the instance as critical, or not at
// all.
func awaitUnseen(ctx context.Context, client *consul.Client, service, id, addr string) error {
	params := url.Values{"filter": {fmt.Sprintf("Service.ID == %q", id)}}
	return persist(ctx, func(ctx context.Context) error {
		res, err := client.Get(ctx, "/v1/health/service/"+url.PathEscape(service), params)
		if err != nil {
			return err
		}
		var entries []entry
		if err := json.Unmarshal(res.Body, &entries); err != nil {
			return fmt.Errorf("%w: %w", consul.ErrMalformed, err)
		}
		for _, e := range entries {
			if i := e.instance(""); i.Address == addr && i.Health != discovery.Critical {
				return fmt.Errorf("the catalog shows it as %v", i.Health)
			}
		}
		return nil
	})
}

// persist tries again what fails, until ctx ends or trying is of no use. The
// error is that of the last try, not that time was up.
func persist(ctx context.Context, try func(context.Context) error) (last error) {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, troubled) {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if final(err) || wait(ctx, pause) != nil {
			return last
		}
	}
}

// Deregister implements [discovery.Registered]. What does not succeed is tried
// again for 5 s at most.
func (k *keeper) Deregister(ctx context.Context) error { return k.leave(ctx, k.removeOnce) }

// withdraw removes what nobody has been told of. It is tried once: an agent that
// is away will not have it.
func (k *keeper) withdraw(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = k.removeOnce(ctx) // else it is forgotten in its time, for want of signs of life
}

func (k *keeper) removeOnce(ctx context.Context) error {
	err := k.client.Put(ctx, "/v1/agent/service/deregister/"+url.PathEscape(k.body.ID), nil, nil)
	if isNotFound(err) {
		return nil
	}
	return err
}
