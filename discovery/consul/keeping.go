package consul

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
)

// keeping is what all have in common who keep an instance registered.
type keeping struct {
	service    string
	id         string
	client     *consul.Client
	log        *slog.Logger
	reporter   discovery.Reporter
	maintained func(reason string)
	stops      []func()
	turn       chan struct{} // holds one of those who tell Consul something
	state      standing

	once sync.Once
	gone error
}

func newKeeping(client *consul.Client, log *slog.Logger, reg discovery.Registration) keeping {
	return keeping{
		service: reg.Service, id: reg.Instance.ID, client: client, log: log, reporter: reg.Reporter, maintained: reg.Maintained,
		turn: make(chan struct{}, 1),
	}
}

// run starts the loops; they end with stop or with the client.
func (k *keeping) run(loops ...func(context.Context)) error {
	for _, loop := range loops {
		stop, err := k.client.Go(loop)
		if err != nil {
			k.stop()
			return err
		}
		k.stops = append(k.stops, stop)
	}
	return nil
}

func (k *keeping) stop() {
	for _, stop := range k.stops {
		stop()
	}
}

// enter waits until nobody else tells Consul something of the instance: what is
// told last has to be what is true.
func (k *keeping) enter(ctx context.Context) (leave func(), err error) {
	select {
	case k.turn <- struct{}{}:
		return func() { <-k.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// health is how the instance is: as its reporter says, and critical once it
// leaves.
func (k *keeping) health() (discovery.Health, string) {
	if k.state.isLeaving() {
		return discovery.Critical, "leaving"
	}
	if k.reporter == nil {
		return discovery.Passing, ""
	}
	return k.reporter.Health()
}

// whenChanged tells now, and then whenever the instance is better or worse, until
// ctx ends. Whoever tells has the turn.
func (k *keeping) whenChanged(ctx context.Context, tell func()) {
	for {
		changed := k.reporter.Changed()
		if leave, err := k.enter(ctx); err == nil {
			tell()
			leave()
		}
		if wait(ctx, atLeast) != nil { // whoever changes his mind all the time is not to fill Consul's time
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// leave ends the keeping, for good, and then removes the instance: what does not
// succeed is tried again for 5 s at most.
func (k *keeping) leave(ctx context.Context, remove func(context.Context) error) error {
	k.once.Do(func() {
		k.stop()
		ctx, cancel := context.WithTimeout(ctx, parting)
		defer cancel()
		if err := persist(ctx, remove); err != nil {
			k.gone = fmt.Errorf("deregister %q: %w", k.id, err)
			return
		}
		k.log.Info("deregistered from Consul", "service", k.service, "instance", k.id)
	})
	return k.gone
}
