package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/examples/internal/checkout"
	"github.com/innermesh/innermesh/mesh"
)

// showTable draws what the mesh knows until ctx ends: in place on a terminal,
// else as plain lines now and then.
func showTable(ctx context.Context, out io.Writer, m *mesh.Mesh) {
	pause, wipe := 3*time.Second, "\n"
	if isTerminal(out) {
		pause, wipe = 500*time.Millisecond, "\x1b[H\x1b[2J"
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprint(out, wipe+checkout.Table(m.Upstreams()))
		case <-ctx.Done():
			fmt.Fprint(out, wipe+checkout.Table(m.Upstreams()))
			return
		}
	}
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// openingCounter is a log handler that counts opened circuits and drops
// everything else, so that the table is not torn.
type openingCounter struct {
	slog.Handler
	n atomic.Int64
}

// Enabled implements [slog.Handler].
func (c *openingCounter) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements [slog.Handler].
func (c *openingCounter) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "circuit opened" {
		c.n.Add(1)
	}
	return nil
}

// WithAttrs implements [slog.Handler].
func (c *openingCounter) WithAttrs([]slog.Attr) slog.Handler { return c }

// WithGroup implements [slog.Handler].
func (c *openingCounter) WithGroup(string) slog.Handler { return c }
