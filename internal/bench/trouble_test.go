//go:build linux

package bench

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

var (
	troubleSpan = flag.Duration("trouble", 0, "how long each rival meets each trouble; 0 skips TestTrouble")
	troubleRate = flag.Int("rate", 1000, "calls that TestTrouble begins in a second")
	troubleOf   = flag.String("of", "", "what TestTrouble is about: part of a trouble's or a rival's name")
)

// TestTrouble lets each rival call ten instances of which one is in trouble. It
// judges nothing: what it prints is a table of one run, in which all rivals have
// met the same.
func TestTrouble(t *testing.T) {
	if *troubleSpan <= 0 {
		t.Skip("run make trouble")
	}
	var rows []result
	for _, group := range rivals() {
		for _, trouble := range troubles {
			var oracle result
			for _, r := range group {
				if r.name != "oracle" && !strings.Contains(r.protocol+" "+trouble.name+" "+r.name, *troubleOf) {
					continue
				}
				t.Run(r.protocol+"/"+trouble.name+"/"+r.name, func(t *testing.T) {
					got := meet(t, r, trouble)
					if r.name == "oracle" {
						oracle = got
					}
					got.oracle = oracle.times
					rows = append(rows, got)
				})
			}
		}
	}
	fmt.Fprintf(os.Stdout, "\n%d calls a second for %v each; × is what the oracle takes beside it\n", *troubleRate, *troubleSpan)
	printTroubles(os.Stdout, rows)
}

// result is how a rival has met a trouble.
type result struct {
	rival, trouble string
	times, oracle  times
	calls, failed  int
	asked          int64 // requests that have reached an instance
	strayed        int64 // those that have reached the one in trouble
	first          error
}

// times are quantiles of how long calls took.
type times struct{ p50, p99, p999 time.Duration }

func printTroubles(w io.Writer, rows []result) {
	lines := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(lines, "trouble\trival\tp50 ms\tp99 ms\t×\tp99.9 ms\t×\tsuccess %\tamplified\tto the bad one %")
	for _, r := range rows {
		fmt.Fprintf(lines, "%s\t%s\t%.1f\t%.1f\t%.2f\t%.1f\t%.2f\t%.3f\t%.3f\t%.2f\n", r.trouble, r.rival,
			ms(r.times.p50), ms(r.times.p99), ms(r.times.p99)/ms(r.oracle.p99), ms(r.times.p999), ms(r.times.p999)/ms(r.oracle.p999),
			100*float64(r.calls-r.failed)/float64(r.calls), float64(r.asked)/float64(r.calls), 100*float64(r.strayed)/float64(r.calls))
	}
	_ = lines.Flush() // to standard output
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
