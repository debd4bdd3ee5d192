// Deadletter shows that a call which fails for good is not lost: a checkout orders
// from a warehouse that is closed, in a small mesh in one process. The orders are
// kept on disk, survive a restart, and are delivered when the warehouse opens: all
// but one that it will never accept.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/deadletter/bolt"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "deadletter:", err)
		os.Exit(1)
	}
}

// run tells the story in three acts, each of which could be a process of its own.
func run(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "deadletter")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "letters.db")

	registry := new(discovery.Memory)
	m, err := mesh.New(ctx, mesh.Options{Service: "checkout", Discovery: registry})
	if err != nil {
		return err
	}
	defer m.Close(context.WithoutCancel(ctx))

	if err := order(ctx, out, m, path); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	w, err := openWarehouse(registry)
	if err != nil {
		return err
	}
	defer w.close()
	if err := heard(ctx, m); err != nil {
		return err
	}
	if err := redrive(ctx, out, m, path); err != nil {
		return fmt.Errorf("redrive: %w", err)
	}
	if err := later(ctx, out, m, path); err != nil {
		return fmt.Errorf("later: %w", err)
	}
	return w.tell(out)
}

// order makes calls that must not be lost, to a service that is not there.
func order(ctx context.Context, out io.Writer, m *mesh.Mesh, path string) error {
	sink, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		return err
	}
	defer sink.Close()
	recorder, err := deadletter.NewRecorder(deadletter.RecorderOptions{Sink: sink, All: true})
	if err != nil {
		return err
	}
	client := &http.Client{Transport: recorder.Transport(m.Transport(nil)), Timeout: 5 * time.Second}

	fmt.Fprintln(out, "The warehouse is closed:")
	for _, what := range []string{"a chair", "a table", "a dragon"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://warehouse/orders", strings.NewReader(what))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer not-for-the-disk")
		res, err := client.Do(req)
		if err == nil {
			return errors.Join(errors.New("nobody was there, and it was answered"), res.Body.Close())
		}
		kept, ok := errors.AsType[*deadletter.KeptError](err)
		if !ok {
			return err
		}
		letter, err := deadletter.Get(ctx, sink, kept.ID)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %-8s is kept: %s %s, reason %s, without %s\n", what, letter.Method, letter.URL, letter.Reason, letter.Removed)
	}
	return nil
}

// heard waits until the mesh has heard that the warehouse is open.
func heard(ctx context.Context, m *mesh.Mesh) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := m.Ready(ctx, "warehouse")
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return err
		}
	}
}

// redrive sends what was kept, down the same path as every call.
func redrive(ctx context.Context, out io.Writer, m *mesh.Mesh, path string) error {
	sink, err := bolt.Open(path, bolt.Options{}) // as after a restart
	if err != nil {
		return err
	}
	defer sink.Close()
	redriver, err := deadletter.NewRedriver(deadletter.RedriverOptions{
		Sink:   sink,
		Sender: deadletter.HTTPSender{Client: m.HTTPClient(), Prepare: credentials},
		Rate:   20,
		Logger: silent,
	})
	if err != nil {
		return err
	}
	report, err := redriver.Redrive(ctx, deadletter.Filter{Services: []string{"warehouse"}})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The warehouse opens: %d delivered, %d failed, %d parked\n", report.Delivered, report.Failed, report.Parked)
	for letter, err := range deadletter.All(ctx, sink, deadletter.Filter{States: []deadletter.State{deadletter.Parked}}) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s is parked: %s\n", letter.Body, letter.Error)
	}
	n, err := deadletter.Discard(ctx, sink, deadletter.Filter{States: []deadletter.State{deadletter.Parked}})
	fmt.Fprintf(out, "  %d discarded\n", n)
	return err
}

// later hands orders to an outbox: they are durable at once and delivered soon.
func later(ctx context.Context, out io.Writer, m *mesh.Mesh, path string) error {
	sink, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		return err
	}
	defer sink.Close()
	outbox, err := deadletter.NewOutbox(deadletter.OutboxOptions{
		Sink: sink, Sender: deadletter.HTTPSender{Client: m.HTTPClient(), Prepare: credentials},
	})
	if err != nil {
		return err
	}
	for _, what := range []string{"a lamp", "a shelf"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://warehouse/orders", strings.NewReader(what))
		if err != nil {
			return err
		}
		if _, err := outbox.EnqueueRequest(ctx, req); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "Two more are enqueued, and delivered when the outbox is closed")
	return outbox.Close(ctx)
}

// credentials are never in a letter: who sends it puts fresh ones in.
func credentials(req *http.Request) error {
	req.Header.Set("Authorization", "Bearer fresh")
	return nil
}
