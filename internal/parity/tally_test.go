package parity_test

import (
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/innermesh/innermesh/internal/parity"
)

// tally is how the scenarios went.
type tally struct {
	mu       sync.Mutex
	ends     map[string]int // scenarios by how they ended
	met      map[string]int // scenarios by what differs in them
	requests int
}

// How a scenario ends.
const (
	equal    = "equal: as a sidecar, but for defaults where nobody has said anything"
	differs  = "different, as documented"
	unusable = "refused here, as they should be"
	rejected = "refused by Consul, as they should be"
	failed   = "failed"
)

func newTally() *tally { return &tally{ends: map[string]int{}, met: map[string]int{}} }

// end notes how a scenario went.
func (y *tally) end(how string, requests int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.ends[how]++
	y.requests += requests
}

// compared notes what a comparison has met, and says how it ended.
func (y *tally) compared(m *met, u *parity.Upstream) string {
	y.mu.Lock()
	defer y.mu.Unlock()
	how := equal
	for _, d := range differences() {
		if m.what[d.what] && (d.matters == nil || d.matters(u)) {
			y.met[d.what]++
			if !d.unsaid {
				how = differs
			}
		}
	}
	return how
}

// check finds differences that are listed and that nobody has met.
func (y *tally) check(t *testing.T) {
	t.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	all := 0
	for _, n := range y.ends {
		all += n
	}
	if all < len(parity.Scenarios()) {
		return // not all were played
	}
	for _, d := range differences() {
		if len(d.fields) > 0 && y.met[d.what] == 0 {
			t.Errorf("no scenario meets the difference %q: it is gone", d.what)
		}
	}
}

// write prints a table.
func (y *tally) write(w io.Writer) {
	y.mu.Lock()
	defer y.mu.Unlock()
	all := 0
	for _, n := range y.ends {
		all += n
	}
	fmt.Fprintf(w, "\nconformance: %d scenarios, %d requests\n", all, y.requests)
	for _, how := range []string{equal, differs, unusable, rejected, failed} {
		fmt.Fprintf(w, "  %4d %s\n", y.ends[how], how)
	}
	fmt.Fprintln(w, "differences that were met, and in how many scenarios:")
	for _, d := range differences() {
		if n := y.met[d.what]; n > 0 {
			fmt.Fprintf(w, "  %4d %s: %s | %s\n", n, d.what, d.sidecar, d.here)
		}
	}
}
