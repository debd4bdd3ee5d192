// Choreography runs orders through three services that nobody conducts: each
// reacts to events of the others, and tells its own by letters that are durable
// before the event they answer is done with. One card is declined, one answer is
// lost, and nothing happens twice.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"

	"github.com/innermesh/innermesh/discovery"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "choreography:", err)
		os.Exit(1)
	}
}

// silent is for what is told on the page anyway.
var silent = slog.New(slog.DiscardHandler)

// run places two orders and shows what became of them.
func run(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "choreography")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	registry := new(discovery.Memory)
	book := &book{story: map[string][]string{}, ended: make(chan string, 2)}
	dancers := []*service{
		{name: "orders", react: book.orders}, {name: "stock", react: book.stock}, {name: "payments", react: book.payments, losesAnswer: true},
	}
	defer func() {
		for _, s := range dancers {
			s.close(context.WithoutCancel(ctx))
		}
	}()
	for _, s := range dancers {
		if err := s.open(ctx, dir, registry); err != nil {
			return err
		}
	}
	for _, placed := range []event{
		{Type: "order.placed", Order: "order-1", Item: "lamp", Card: "good"},
		{Type: "order.placed", Order: "order-2", Item: "chair", Card: "declined"},
	} {
		if err := dancers[0].tell(ctx, placed.Order, placed); err != nil {
			return err
		}
	}
	for range 2 {
		select {
		case <-book.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	book.print(out)
	return nil
}

// book is what the services have done, and each one's part in the dance.
type book struct {
	mu    sync.Mutex
	story map[string][]string // by order
	ended chan string
}

func (b *book) note(e event, what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.story[e.Order] = append(b.story[e.Order], what)
}

// orders hears how its orders end.
func (b *book) orders(e event) (string, error) {
	switch e.Type {
	case "payment.taken":
		b.note(e, "orders: confirmed")
	case "stock.released":
		b.note(e, "orders: canceled")
	}
	b.ended <- e.Order
	return "", nil
}

// stock reserves what is ordered, and takes that back when nobody pays.
func (b *book) stock(e event) (string, error) {
	if e.Type == "payment.declined" {
		b.note(e, "stock: released "+e.Item)
		return "stock.released", nil
	}
	b.note(e, "stock: reserved "+e.Item)
	return "stock.reserved", nil
}

// payments charges what is reserved.
func (b *book) payments(e event) (string, error) {
	if e.Card == "declined" {
		b.note(e, "payments: declined")
		return "payment.declined", nil
	}
	b.note(e, "payments: charged")
	return "payment.taken", nil
}

func (b *book) print(out io.Writer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range []string{"order-1", "order-2"} {
		fmt.Fprintf(out, "%s\n    %s\n", id, strings.Join(b.story[id], "\n    "))
	}
}
