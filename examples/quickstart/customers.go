package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
)

// customers keep calling until the shop closes.
type customers struct {
	wg            sync.WaitGroup
	calls, failed atomic.Int64
	first         atomic.Pointer[error]
}

// perService is how many customers stand in line at each service.
const perService = 8

// sendCustomers starts calling both services.
func sendCustomers(ctx context.Context, m *mesh.Mesh) (*customers, error) {
	client := m.HTTPClient()
	conn, err := m.GRPCClient("payments")
	if err != nil {
		return nil, err
	}
	payments := healthpb.NewHealthClient(conn)
	c := new(customers)
	for range perService {
		c.wg.Go(func() { c.shop(ctx, func(ctx context.Context) error { return look(ctx, client) }) })
		c.wg.Go(func() { c.shop(ctx, func(ctx context.Context) error { return pay(ctx, payments) }) })
	}
	return c, nil
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

func (c *customers) shop(ctx context.Context, buy func(context.Context) error) {
	for ctx.Err() == nil {
		c.calls.Add(1)
		if err := buy(context.WithoutCancel(ctx)); err != nil { // who is in the shop at closing time is still served
			c.failed.Add(1)
			c.first.CompareAndSwap(nil, &err)
		}
	}
}

// wait returns when all customers have left.
func (c *customers) wait() total {
	c.wg.Wait()
	t := total{calls: c.calls.Load(), failed: c.failed.Load()}
	if err := c.first.Load(); err != nil {
		t.first = *err
	}
	return t
}

// total is how the day went.
type total struct {
	calls, failed int64
	first         error
}

func (t total) print(out io.Writer, m *mesh.Mesh, openings *openingCounter) {
	var retries uint64
	for _, u := range m.Upstreams() {
		retries += u.Retries
	}
	fmt.Fprintf(out, "\n%d calls, %d failed, %d retries, %d ejections\n", t.calls, t.failed, retries, openings.n.Load())
	if t.first != nil {
		fmt.Fprintln(out, "the first failure:", t.first)
	}
}
