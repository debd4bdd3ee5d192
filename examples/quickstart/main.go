// Quickstart runs a small mesh in one process: a shop whose checkout calls an
// inventory over HTTP and payments over gRPC, three instances each, with mTLS.
// One instance is slow, one fails now and then, one is killed half-way; no call
// fails.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/examples/internal/checkout"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

func main() {
	duration := flag.Duration("duration", 15*time.Second, "how long the shop is open")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, *duration)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run opens the shop for a while and says how it went.
func run(ctx context.Context, out io.Writer, duration time.Duration) error {
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{})
	if err != nil {
		return err
	}
	registry := new(discovery.Memory)
	shop, err := openShop(ctx, ca, registry)
	if err != nil {
		return err
	}
	defer shop.close()

	identity, err := ca.Source("checkout")
	if err != nil {
		return err
	}
	openings := new(openingCounter)
	m, err := mesh.New(ctx, mesh.Options{
		Service:   "checkout",
		Discovery: registry,
		TLS:       mesh.TLSOptions{Source: identity},
		Logger:    slog.New(openings),
	})
	if err != nil {
		return err
	}
	defer m.Close(context.WithoutCancel(ctx))

	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	time.AfterFunc(duration/2, shop.killOne)
	customers, err := checkout.Send(ctx, m, 0)
	if err != nil {
		return err
	}
	showTable(ctx, out, m)
	total := customers.Wait()
	fmt.Fprintf(out, "\n%s, %d retries, %d ejections\n", total, checkout.Retries(m.Upstreams()), openings.n.Load())
	return total.Err()
}
