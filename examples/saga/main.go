// Saga runs orders that take three services: stock over HTTP, payments over gRPC
// and stock again. Each order reserves, pays and ships, or leaves everything as
// it was: one card is declined, one instance fails and one program dies half-way.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/saga"
	"github.com/innermesh/innermesh/saga/bolt"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "saga:", err)
		os.Exit(1)
	}
}

// run carries three orders out and shows what became of them.
func run(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "saga")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	registry := new(discovery.Memory)
	shop, err := openShop(ctx, registry)
	if err != nil {
		return err
	}
	defer shop.close()
	m, err := mesh.New(ctx, mesh.Options{Service: "checkout", Discovery: registry})
	if err != nil {
		return err
	}
	defer m.Close(context.WithoutCancel(ctx))
	checkout, err := newCheckout(m)
	if err != nil {
		return err
	}
	defer checkout.close()

	p, err := open(dir, checkout)
	if err != nil {
		return err
	}
	for _, o := range []order{{ID: "order-1", Item: "lamp", Card: "good"}, {ID: "order-2", Item: "chair", Card: "declined"}} {
		if err := saga.Start(ctx, p.sagas, checkout.order, o.ID, o); err != nil {
			return errors.Join(err, p.close(ctx))
		}
		if err := show(ctx, out, p, shop, o.ID); err != nil {
			return errors.Join(err, p.close(ctx))
		}
	}

	o := order{ID: "order-3", Item: "table", Card: "good"}
	paying := shop.payments.hangOnce()
	if err := saga.Start(ctx, p.sagas, checkout.order, o.ID, o); err != nil {
		return errors.Join(err, p.close(ctx))
	}
	select {
	case <-paying:
	case <-ctx.Done():
	}
	if err := p.die(); err != nil {
		return err
	}
	fmt.Fprintln(out, "order-3: paid, and nobody knows: the program was stopped before it heard the answer")
	if p, err = open(dir, checkout); err != nil {
		return err
	}
	return errors.Join(show(ctx, out, p, shop, o.ID), p.close(ctx))
}

// program is what dies and comes again: its log does not.
type program struct {
	log   *bolt.Log
	sagas *saga.Coordinator
}

func open(dir string, c *checkout) (*program, error) {
	log, err := bolt.Open(bolt.Options{Path: filepath.Join(dir, "sagas")})
	if err != nil {
		return nil, err
	}
	sagas, err := saga.New(saga.Options{
		Log: log, Definitions: []saga.Runnable{c.order}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return &program{log, sagas}, nil
}

func (p *program) close(ctx context.Context) error {
	return errors.Join(p.sagas.Close(ctx), p.log.Close())
}

// die ends what is under way at once.
func (p *program) die() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return p.close(ctx)
}

// show waits for the end of an order, and shows what it has left in the shop.
func show(ctx context.Context, out io.Writer, p *program, s *shop, id string) error {
	end, err := p.sagas.Wait(ctx, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %s", id, end.Status)
	if end.Error != "" {
		fmt.Fprintf(out, " (%s)", end.Error)
	}
	fmt.Fprintln(out)
	for _, st := range end.Steps {
		fmt.Fprintf(out, "    %-8s %s\n", st.Name, st.Status)
	}
	fmt.Fprintf(out, "    in the shop: %s\n", s.about(id))
	return nil
}
