package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
)

// Registrar registers instances with the local agent and keeps them there: it
// notices when the agent forgets them or ends, and registers them again, a second
// after it is back. Each instance has one question open at the agent. It is safe
// for concurrent use.
type Registrar struct {
	client *consul.Client
	log    *slog.Logger
}

// NewRegistrar returns a registrar that speaks through client; closing the
// client ends the keeping of what it registered. A nil log means slog.Default().
func NewRegistrar(client *consul.Client, log *slog.Logger) *Registrar {
	if log == nil {
		log = slog.Default()
	}
	return &Registrar{client, log}
}

// Register implements [discovery.Registrar]. What the agent refuses as wrong
// fails at once, and so does a missing permission ([ErrPermission]); everything
// else is tried again until ctx ends.
//
// The instance's health is told by signs of life, unless CheckHTTP or CheckGRPC
// let the agent probe it; then it is critical until the first probe has passed.
func (r *Registrar) Register(ctx context.Context, reg discovery.Registration) (discovery.Registered, error) {
	body, err := newRegistration(reg)
	if err != nil {
		return nil, fmt.Errorf("register %q: %w", reg.Service, err)
	}
	k := newKeeper(r, body, reg)
	if err := first(ctx, r.log, reg, k.put); err != nil {
		if ctx.Err() != nil { // perhaps the agent had just taken it
			k.withdraw(ctx)
		}
		return nil, err
	}
	if err := k.start(); err != nil {
		return nil, fmt.Errorf("register %q: %w", reg.Service, err)
	}
	r.log.Info("registered with Consul", "service", body.Name, "instance", body.ID)
	return k, nil
}

// first registers for the first time: again and again until it is done, ctx ends
// or trying is of no use. That it has to try is told once.
func first(ctx context.Context, log *slog.Logger, reg discovery.Registration, put func(context.Context) error) error {
	var last error
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := put(ctx)
		if err == nil || final(err) {
			return err
		}
		if last == nil {
			log.Warn("not registered yet, which is tried again", "service", reg.Service, "instance", reg.Instance.ID, "error", err)
		}
		if last == nil || ctx.Err() == nil { // the reason, not that time was up
			last = err
		}
		if wait(ctx, pause) != nil {
			return fmt.Errorf("%w, the last try: %w", context.Cause(ctx), last)
		}
	}
}

// final says that trying again will not help.
func final(err error) bool {
	if errors.Is(err, consul.ErrPermission) || errors.Is(err, consul.ErrClosed) {
		return true
	}
	status, ok := errors.AsType[*consul.StatusError](err)
	return ok && status.Code >= 400 && status.Code < 500 &&
		status.Code != http.StatusTooManyRequests && status.Code != http.StatusNotFound
}

// wait waits, or returns ctx's error if it ends before.
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
