package mesh

import (
	"fmt"
	"strings"

	"github.com/innermesh/innermesh/internal/upstream"
)

// ExplainedMirror is where copies of a route's calls are sent.
type ExplainedMirror struct {
	// Share is how many of the calls are copied, from 0 to 1.
	Share float64
	// MaxBytes is how long a body may be to be copied, Active how many copies may
	// be under way at once.
	MaxBytes, Active int
	// Target is who would get them. Its share is that of the copies.
	Target ExplainedTarget
}

func explainMirror(m *upstream.Mirror) ExplainedMirror {
	return ExplainedMirror{
		Share: float64(m.Hundredths()) / 10000, MaxBytes: m.MaxBytes, Active: m.Active,
		Target: explainTarget(m.To.Clusters()[0], 1, m.To.Targets[0].Policy),
	}
}

func (m ExplainedMirror) write(b *strings.Builder) {
	fmt.Fprintf(b, "  copies of %s of the calls, of %d bytes and %d at once at most, go to\n", percent(m.Share), m.MaxBytes, m.Active)
	m.Target.write(b, false, false)
}
