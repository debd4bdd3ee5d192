package checkout

import (
	"fmt"
	"path"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/innermesh/innermesh/mesh"
)

// Table shows what the mesh knows of those it calls, a line for each instance.
func Table(upstreams []mesh.Upstream) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "instance\tshare\tsuccess\tp50\tp99\tin flight\tcircuit\t")
	for _, u := range upstreams {
		var all uint64
		for _, i := range u.Instances {
			all += i.Attempts
		}
		for _, i := range u.Instances {
			fmt.Fprintf(w, "%s\t%.0f %%\t%.1f %%\t%v\t%v\t%d\t%s\t\n", path.Base(i.Instance.ID), // Consul has the node's name before it
				percent(i.Attempts, all), percent(i.Attempts-i.Failures, i.Attempts),
				i.P50.Round(100*time.Microsecond), i.P99.Round(100*time.Microsecond), i.Inflight, i.Breaker)
		}
	}
	_ = w.Flush() // a strings.Builder does not fail
	return b.String()
}

// Retries counts the attempts that were not the first of their call.
func Retries(upstreams []mesh.Upstream) (n uint64) {
	for _, u := range upstreams {
		n += u.Retries
	}
	return n
}

func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}
