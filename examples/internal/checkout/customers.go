// Package checkout is what the examples' checkouts have in common: customers who
// keep calling inventory and payments, and a table of who has served them.
package checkout

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
)

// Customers keep calling until the shop closes.
type Customers struct {
	wg            sync.WaitGroup
	calls, failed atomic.Int64
	first         atomic.Pointer[error]
}

// perService is how many customers stand in line at each service.
const perService = 8

// Send starts calling both services, until ctx ends. Each customer thinks for so
// long between two calls.
func Send(ctx context.Context, m *mesh.Mesh, think time.Duration) (*Customers, error) {
	client := m.HTTPClient()
	conn, err := m.GRPCClient("payments")
	if err != nil {
		return nil, err
	}
	payments := healthpb.NewHealthClient(conn)
	c := new(Customers)
	for range perService {
		c.wg.Go(func() { c.shop(ctx, think, func(ctx context.Context) error { return look(ctx, client) }) })
		c.wg.Go(func() { c.shop(ctx, think, func(ctx context.Context) error { return pay(ctx, payments) }) })
	}
	return c, nil
}

// Total is how the day has gone so far.
func (c *Customers) Total() Total {
	t := Total{Calls: c.calls.Load(), Failed: c.failed.Load()}
	if err := c.first.Load(); err != nil {
		t.First = *err
	}
	return t
}

// Wait returns when all customers have left.
func (c *Customers) Wait() Total {
	c.wg.Wait()
	return c.Total()
}

func (c *Customers) shop(ctx context.Context, think time.Duration, buy func(context.Context) error) {
	for ctx.Err() == nil {
		if err := buy(context.WithoutCancel(ctx)); err != nil { // who is in the shop at closing time is still served
			c.failed.Add(1)
			c.first.CompareAndSwap(nil, &err)
		}
		c.calls.Add(1)
		if think > 0 {
			select {
			case <-time.After(think):
			case <-ctx.Done():
			}
		}
	}
}

// look asks the inventory. A GET is idempotent as it is.
func look(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://inventory/items/42", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("inventory answered %s", res.Status)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// pay calls payments, and says that repeating this call does no harm.
func pay(ctx context.Context, payments healthpb.HealthClient) error {
	ctx = call.With(ctx, call.Options{Idempotent: true})
	_, err := payments.Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

// Total counts calls, and those among them that have failed.
type Total struct {
	Calls, Failed int64
	First         error // of the failures
}

// String says it in a few words.
func (t Total) String() string { return fmt.Sprintf("%d calls, %d failed", t.Calls, t.Failed) }

// Err is why the day was not a good one: all calls may be repeated, so not one of
// them had to fail.
func (t Total) Err() error {
	if t.Failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d calls have failed that should not have, the first of them: %w", t.Failed, t.Calls, t.First)
}
