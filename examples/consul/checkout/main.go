// Checkout calls inventory and payments, which it finds in Consul, for some
// seconds, and fails if a single call has failed.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/innermesh/innermesh/examples/internal/checkout"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

func main() {
	dir := flag.String("tls", "", "folder with the identity: tls.crt, tls.key, ca.crt")
	duration := flag.Duration("for", 8*time.Second, "how long to call")
	flag.Parse()
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *dir, *duration)
	stop()
	if err != nil {
		log.Fatal("checkout: ", err)
	}
}

func run(ctx context.Context, dir string, duration time.Duration) error {
	identity, err := tlsutil.NewFiles(tlsutil.FilesOptions{Dir: dir})
	if err != nil {
		return err
	}
	defer identity.Close()
	m, err := mesh.New(ctx, mesh.Options{
		Service: "checkout", // Consul by the CONSUL_* variables
		TLS:     mesh.TLSOptions{Source: identity},
	})
	if err != nil {
		return err
	}
	defer m.Close(context.WithoutCancel(ctx))

	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	customers, err := checkout.Send(ctx, m, 20*time.Millisecond)
	if err != nil {
		return err
	}
	count(ctx, customers)
	total := customers.Wait()
	upstreams := m.Upstreams()
	fmt.Printf("\n%s\n%s, %d retries\n", checkout.Table(upstreams), total, checkout.Retries(upstreams))
	return total.Err()
}

// count tells each second how many calls there have been, until ctx ends.
func count(ctx context.Context, customers *checkout.Customers) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Println(customers.Total())
		case <-ctx.Done():
			return
		}
	}
}
