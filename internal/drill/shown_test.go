package drill

import (
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"text/tabwriter"
)

// longEnv asks for the long forms of drills that have one.
const longEnv = "INNERMESH_DRILLS"

// longForm says whether the long forms are wanted.
func longForm() bool { return os.Getenv(longEnv) == "long" }

// table is what drills have shown, for a reader.
type table struct {
	mu   sync.Mutex
	rows []row
}

type row struct {
	drill, promise, figure string
	failed                 bool
}

// shown is the table of this run; TestMain prints it.
var shown table

// show notes what a drill has promised, and the figure it came to. Whether the
// promise was kept is seen when the test has ended.
func show(t *testing.T, promise, figure string, args ...any) {
	t.Helper()
	r := row{drill: t.Name(), promise: promise, figure: fmt.Sprintf(figure, args...)}
	t.Cleanup(func() {
		r.failed = t.Failed()
		shown.mu.Lock()
		defer shown.mu.Unlock()
		shown.rows = append(shown.rows, r)
	})
}

func (s *table) print(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rows) == 0 {
		return
	}
	lines := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(lines, "\ndrill\tpromise\tfigure\tkept")
	for _, r := range s.rows {
		kept := "yes"
		if r.failed {
			kept = "NO"
		}
		fmt.Fprintf(lines, "%s\t%s\t%s\t%s\n", r.drill, r.promise, r.figure, kept)
	}
	_ = lines.Flush() // to standard output
	fmt.Fprintln(w)
}

// run prints the table after the tests.
type run struct{ tests *testing.M }

func (r run) Run() int {
	code := r.tests.Run()
	shown.print(os.Stdout)
	return code
}
