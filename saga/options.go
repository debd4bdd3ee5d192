package saga

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/innermesh/innermesh/deadletter"
)

// Options configure a [Coordinator]. Log is required; every other zero value is
// the documented default.
type Options struct {
	// Log keeps the sagas. Close it after the coordinator.
	Log Log
	// Definitions are those whose sagas are carried out. Others in the log are
	// left alone, and shown as parked.
	Definitions []Runnable
	// Letters gets a letter for each saga that is stuck; every [deadletter.Sink]
	// is one. The letter is parked. Default: none.
	Letters Letters
	// Trace takes the trace that a saga is started in along to its steps, whoever
	// carries them out and however much later. With a mesh: [mesh.Mesh.Trace].
	// Default: steps belong to no trace.
	//
	// [mesh.Mesh.Trace]: https://pkg.go.dev/github.com/innermesh/innermesh/mesh#Mesh.Trace
	Trace Trace
	// MaxRunning is how many sagas are carried out at a time. Others wait in the
	// log. Default 64.
	MaxRunning int
	// Lease is how long a saga is its owner's without a sign of life: how soon
	// others take over from one that died. It is renewed at a third. Default 30 s.
	Lease time.Duration
	// Poll is how often the log is asked for sagas that others have left or that
	// have rested. Default 1 s.
	Poll time.Duration
	// Keep is how long sagas that have ended are kept. A second Start of the same
	// ID does nothing as long as that. Default 7 days; negative: for ever.
	Keep time.Duration
	// Owner names this coordinator to others, and must be unlike any other's.
	// Default: the host's name, the process and something random.
	Owner string
	// Logger hears of sagas that are stuck or parked, and of a log that fails.
	// Default: slog.Default().
	Logger *slog.Logger
}

// Trace writes a context's trace down, and makes contexts that belong to it.
type Trace interface {
	// Save returns the trace of ctx as words, none if it has none.
	Save(ctx context.Context) map[string]string
	// Restore returns ctx as a part of the trace that Save has returned.
	Restore(ctx context.Context, saved map[string]string) context.Context
}

// Letters takes what is stuck.
type Letters interface {
	Put(ctx context.Context, l deadletter.Letter) error
}

// Validate names everything that is wrong, in the definitions too.
func (o Options) Validate() error {
	var faults []error
	if o.Log == nil {
		faults = append(faults, fmt.Errorf("%s is nil: it is required", "Log"))
	}
	if o.MaxRunning < 0 {
		faults = append(faults, fmt.Errorf("MaxRunning is %d: must not be negative", o.MaxRunning))
	}
	if o.Lease < 0 || o.Lease > 0 && o.Lease < minLease {
		faults = append(faults, fmt.Errorf("%s is %v: must be %v at least", "Lease", o.Lease, minLease))
	}
	if o.Poll < 0 {
		faults = append(faults, fmt.Errorf("%s is %v: must not be negative", "Poll", o.Poll))
	}
	known := map[string]bool{}
	for i, d := range o.Definitions {
		field := fmt.Sprintf("Definitions[%d]", i)
		if d == nil {
			faults = append(faults, fmt.Errorf("%s is nil", field))
			continue
		}
		p, err := d.plan()
		if err != nil {
			faults = append(faults, fmt.Errorf("%s (%.120s): %w", field, p.Name, err))
		}
		name := fmt.Sprintf("%.120s version %d", p.Name, p.Version)
		if known[name] {
			faults = append(faults, fmt.Errorf("%s is %s, as another one", field, name))
		}
		known[name] = true
	}
	return errors.Join(faults...)
}

// minLease leaves time for a renewal.
const minLease = 100 * time.Millisecond

func (o Options) withDefaults() Options {
	o.MaxRunning = cmp.Or(o.MaxRunning, 64)
	o.Lease = cmp.Or(o.Lease, 30*time.Second)
	o.Poll = cmp.Or(o.Poll, time.Second)
	o.Keep = cmp.Or(o.Keep, 7*24*time.Hour)
	if o.Owner == "" {
		host, _ := os.Hostname() // it is for human eyes
		o.Owner = fmt.Sprintf("%.60s/%d/%s", host, os.Getpid(), rand.Text()[:8])
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// patience is how long one question to the log may take.
func (o Options) patience() time.Duration { return min(o.Lease/3, 5*time.Second) }
