// Observability runs a small shop in which something is always going wrong, serves
// its metrics for Prometheus, and sends its traces to where
// OTEL_EXPORTER_OTLP_ENDPOINT points. Its README says what to run beside it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/tlsutil"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:9464", "where metrics are served")
	rate := flag.Int("rate", 40, "visitors a second")
	duration := flag.Duration("duration", 0, "how long the shop is open; 0 is until Ctrl-C")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	if *duration > 0 {
		ctx, stop = context.WithTimeout(ctx, *duration)
	}
	err := run(ctx, os.Stdout, *addr, *rate)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "observability:", err)
		os.Exit(1)
	}
}

// run opens the shop until ctx ends, and says how it went.
func run(ctx context.Context, out io.Writer, addr string, rate int) (err error) {
	dir, err := os.MkdirTemp("", "observability")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{})
	if err != nil {
		return err
	}
	signals, err := newExporters(ctx)
	if err != nil {
		return err
	}
	s := &shop{registry: new(discovery.Memory), ca: ca, signals: signals, policies: filepath.Join(dir, "policies.yaml")}
	if err := s.instruct(); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, s.close(ctx), signals.close(ctx))
	}()
	if err := s.open(ctx); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", signals.scrape)
	mux.Handle("/", s.checkout.AdminHandler())
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: mux}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	fmt.Fprintf(out, "metrics at http://%s/metrics, the live page of checkout at http://%s/\n", l.Addr(), l.Addr())

	var served, failed atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() { s.visit(ctx, rate, &served, &failed) })
	wg.Go(func() { s.disturb(ctx) })
	wg.Wait()
	fmt.Fprintf(out, "%d visitors were served, %d were not\n", served.Load(), failed.Load())
	if served.Load() == 0 {
		return errors.New("nobody was served")
	}
	return nil
}

// visit sends visitors at a steady rate.
func (s *shop) visit(ctx context.Context, rate int, served, failed *atomic.Int64) {
	client := s.visitor.HTTPClient()
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		wg.Go(func() {
			req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, "http://checkout/buy", nil)
			if err != nil {
				return
			}
			res, err := client.Do(req)
			if err != nil {
				failed.Add(1)
				return
			}
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				served.Add(1)
			} else {
				failed.Add(1)
			}
		})
	}
}
