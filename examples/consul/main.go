// Consul runs the same shop as quickstart, each instance a program of its own,
// registered and found in a real Consul, with mTLS from files. Half-way one
// instance of each service is killed; no call fails.
//
// Its folders hold the programs: inventory, payments and checkout. This one
// starts them, an agent of Consul before them, and ends them all.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/innermesh/innermesh/internal/consultest"
)

func main() {
	duration := flag.Duration("duration", 8*time.Second, "how long the shop is open")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Stdout, *duration)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // what else went wrong went wrong for this reason
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run starts Consul, building it if need be, and opens the shop.
func run(ctx context.Context, out io.Writer, duration time.Duration) (err error) {
	if _, err := consultest.Binary(); errors.Is(err, consultest.ErrNoBinary) {
		fmt.Fprintln(out, "building Consul, once: about five minutes")
	}
	binary, err := consultest.Build(ctx, os.Stderr)
	if err != nil {
		return err
	}
	agent, err := consultest.Launch(ctx, consultest.Options{Binary: binary})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agent.Stop()) }()
	fmt.Fprintln(out, "Consul answers at", agent.HTTPAddr)
	return open(ctx, out, agent.HTTPAddr, duration)
}
