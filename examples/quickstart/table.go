package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

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
			fmt.Fprint(out, wipe+table(m.Upstreams()))
		case <-ctx.Done():
			fmt.Fprint(out, wipe+table(m.Upstreams()))
			return
		}
	}
}

func table(upstreams []mesh.Upstream) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "instance\tshare\tsuccess\tp50\tp99\tin flight\tcircuit\t")
	for _, u := range upstreams {
		var all uint64
		for _, i := range u.Instances {
			all += i.Attempts
		}
		for _, i := range u.Instances {
			fmt.Fprintf(w, "%s\t%.0f %%\t%.1f %%\t%v\t%v\t%d\t%s\t\n", i.Instance.ID,
				percent(i.Attempts, all), percent(i.Attempts-i.Failures, i.Attempts),
				i.P50.Round(100*time.Microsecond), i.P99.Round(100*time.Microsecond), i.Inflight, i.Breaker)
		}
	}
	_ = w.Flush() // a strings.Builder does not fail
	return b.String()
}

func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
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
