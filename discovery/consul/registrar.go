package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
)

// Registrar registers instances with the local agent and keeps them there: it
// looks every few seconds whether the agent still knows them, and registers them
// again when it does not.
type Registrar struct {
	client *consul.Client
	log    *slog.Logger
}

// NewRegistrar returns a registrar that speaks through client. A nil log means
// slog.Default().
func NewRegistrar(client *consul.Client, log *slog.Logger) *Registrar {
	if log == nil {
		log = slog.Default()
	}
	return &Registrar{client, log}
}

// checkEvery is how often the agent is asked whether it still knows an instance.
const checkEvery = 3 * time.Second

// Register implements [discovery.Registrar]. What the agent refuses as wrong
// (400) or not permitted fails at once; everything else is tried again until ctx
// ends.
func (r *Registrar) Register(ctx context.Context, reg discovery.Registration) (discovery.Registered, error) {
	k, err := r.keeper(reg)
	if err != nil {
		return nil, err
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := k.put(ctx)
		if err == nil {
			break
		}
		if final(err) {
			return nil, err
		}
		if wait(ctx, pause) != nil {
			return nil, fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
	}
	if k.stop, err = r.client.Go(k.keep); err != nil {
		return nil, err
	}
	return k, nil
}

// final says that trying again will not help.
func final(err error) bool {
	status, ok := errors.AsType[*consul.StatusError](err)
	return ok && status.Code == http.StatusBadRequest || errors.Is(err, consul.ErrPermission) || errors.Is(err, consul.ErrClosed)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keeper keeps one instance registered.
type keeper struct {
	r     *Registrar
	id    string
	ttl   time.Duration
	check string // of the TTL check, empty if the agent probes
	body  registration
	stop  func()

	once sync.Once
	gone error
}

// registration is the body of /v1/agent/service/register.
type registration struct {
	ID, Name, Address string
	Port              int
	Tags              []string          `json:",omitempty"`
	Meta              map[string]string `json:",omitempty"`
	Weights           *weights          `json:",omitempty"`
	Connect           *connect          `json:",omitempty"`
	Checks            []check
}

type (
	weights struct{ Passing, Warning int }
	connect struct{ Native bool }
	check   struct {
		CheckID, Name                  string
		TTL                            string `json:",omitempty"`
		HTTP                           string `json:",omitempty"`
		GRPC                           string `json:",omitempty"`
		Interval                       string `json:",omitempty"`
		Status                         string
		DeregisterCriticalServiceAfter string
	}
)

func (r *Registrar) keeper(reg discovery.Registration) (*keeper, error) {
	if reg.Service == "" {
		return nil, errors.New("register: Service is empty")
	}
	if err := reg.Instance.Validate(); err != nil {
		return nil, fmt.Errorf("register %s: %w", reg.Service, err)
	}
	host, port, err := net.SplitHostPort(reg.Instance.Address)
	if err != nil {
		return nil, fmt.Errorf("register %s: %w", reg.Service, err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("register %s: port %q: %w", reg.Service, port, err)
	}
	k := &keeper{r: r, id: reg.Instance.ID, ttl: cmp.Or(reg.TTL, 15*time.Second)}
	k.body = registration{
		ID: reg.Instance.ID, Name: reg.Service, Address: host, Port: number,
		Tags: reg.Instance.Tags, Meta: reg.Instance.Meta,
		Checks: []check{k.probe(reg)},
	}
	if w := reg.Instance.Weight; w > 0 {
		k.body.Weights = &weights{Passing: w, Warning: 1}
	}
	if reg.MeshNative {
		k.body.Connect = &connect{Native: true}
	}
	return k, nil
}

// probe is how Consul learns that the instance lives.
func (k *keeper) probe(reg discovery.Registration) check {
	c := check{
		CheckID: "service:" + k.id, Name: reg.Service + " lives", Status: "passing",
		DeregisterCriticalServiceAfter: cmp.Or(reg.DeregisterAfter, 10*time.Minute).String(),
	}
	switch interval := cmp.Or(reg.CheckInterval, 5*time.Second).String(); {
	case reg.CheckHTTP != "":
		c.HTTP, c.Interval = reg.CheckHTTP, interval
	case reg.CheckGRPC != "":
		c.GRPC, c.Interval = reg.CheckGRPC, interval
	default:
		c.TTL, k.check = k.ttl.String(), c.CheckID
	}
	return c
}

// put registers the instance and gives the first sign of life, without which the
// agent would not remember its state over a restart.
func (k *keeper) put(ctx context.Context) error {
	err := k.r.client.Put(ctx, "/v1/agent/service/register", url.Values{"replace-existing-checks": {"true"}}, k.body)
	if err != nil {
		return fmt.Errorf("register %s with the Consul agent: %w", k.id, err)
	}
	return k.live(ctx)
}

// live gives a sign of life, unless the agent looks for itself.
func (k *keeper) live(ctx context.Context) error {
	if k.check == "" {
		return nil
	}
	status := map[string]string{"Status": "passing", "Output": "the process says so"}
	if err := k.r.client.Put(ctx, "/v1/agent/check/update/"+url.PathEscape(k.check), nil, status); err != nil {
		return fmt.Errorf("say that %s lives: %w", k.id, err)
	}
	return nil
}

// keep makes sure that the agent knows the instance, until ctx ends.
func (k *keeper) keep(ctx context.Context) {
	lost := false
	lived := time.Now()
	for {
		pause := min(checkEvery, k.ttl/3)
		if wait(ctx, pause*3/4+rand.N(pause/2)) != nil {
			return
		}
		err := k.known(ctx)
		if err == nil && time.Since(lived) >= k.ttl/3 {
			if err = k.live(ctx); err == nil {
				lived = time.Now()
			}
		}
		if errors.Is(err, errForgotten) || err != nil && !errors.Is(err, consul.ErrUnreachable) {
			if err = k.put(ctx); err == nil {
				lived = time.Now()
				k.r.log.Info("registered again: the Consul agent had forgotten", "instance", k.id)
			}
		}
		if ctx.Err() == nil && (err != nil) != lost {
			if lost = err != nil; lost {
				k.r.log.Warn("registration can not be kept for now", "instance", k.id, "error", err)
			} else {
				k.r.log.Info("registration is kept again", "instance", k.id)
			}
		}
	}
}

var errForgotten = errors.New("the agent has forgotten the instance")

func (k *keeper) known(ctx context.Context) error {
	res, err := k.r.client.Get(ctx, "/v1/agent/service/"+url.PathEscape(k.id), nil)
	if err == nil && !res.Found {
		return errForgotten
	}
	return err
}

// Deregister implements [discovery.Registered].
func (k *keeper) Deregister(ctx context.Context) error {
	k.once.Do(func() {
		k.stop()
		err := k.r.client.Put(ctx, "/v1/agent/service/deregister/"+url.PathEscape(k.id), nil, nil)
		if status, ok := errors.AsType[*consul.StatusError](err); ok && status.Code == http.StatusNotFound {
			err = nil
		}
		if err != nil {
			k.gone = fmt.Errorf("deregister %s: %w", k.id, err)
		}
	})
	return k.gone
}
