package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/saga"
)

// order is the state of the saga: what its steps hand on to each other.
type order struct {
	ID, Item, Card string
	Shelf          string
}

// checkout has the clients that the steps use, and the definition of the saga. A
// step's context has its idempotency key, which the mesh sends along.
type checkout struct {
	stock    *http.Client
	conn     *grpc.ClientConn
	payments healthpb.HealthClient
	order    *saga.Definition[order]
}

func newCheckout(m *mesh.Mesh) (*checkout, error) {
	conn, err := m.GRPCClient("payments")
	if err != nil {
		return nil, err
	}
	c := &checkout{
		stock: m.HTTPClient(), conn: conn, payments: healthpb.NewHealthClient(conn),
	}
	c.order = &saga.Definition[order]{Name: "order", Timeout: time.Minute, Steps: []saga.Step[order]{
		{Name: "reserve", Do: c.reserve, Undo: c.release},
		{Name: "charge", Do: c.charge, Pivot: true},
		{Name: "ship", Do: c.ship},
	}}
	return c, nil
}

func (c *checkout) close() { _ = c.conn.Close() }

func (c *checkout) reserve(ctx context.Context, o *order) error {
	shelf, err := c.ask(ctx, "reserve", o)
	o.Shelf = shelf
	return err
}

func (c *checkout) release(ctx context.Context, o *order) error {
	_, err := c.ask(ctx, "release", o)
	return err
}

func (c *checkout) ship(ctx context.Context, o *order) error {
	_, err := c.ask(ctx, "ship", o)
	return err
}

// charge is the pivot. A card that is declined has changed nothing.
func (c *checkout) charge(ctx context.Context, o *order) error {
	_, err := c.payments.Check(ctx, &healthpb.HealthCheckRequest{Service: o.ID + "/" + o.Card})
	if status.Code(err) == codes.FailedPrecondition {
		return saga.NoEffect(err)
	}
	return err
}

// ask posts to the stock.
func (c *checkout) ask(ctx context.Context, what string, o *order) (string, error) {
	target := "http://stock/" + what + "?" + url.Values{"order": {o.ID}, "item": {o.Item}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	if err != nil {
		return "", err
	}
	res, err := c.stock.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", what, res.Status)
	}
	return res.Header.Get("Shelf"), nil
}
