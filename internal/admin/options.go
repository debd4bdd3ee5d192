package admin

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/innermesh/innermesh/internal/window"
)

// Options are where the page has everything from. Functions that are nil are for
// what does not exist; all are called from many goroutines.
type Options struct {
	// Process tells who is looked at. Required.
	Process func() Process
	// Totals tells what was counted so far of the calls to each upstream, by name.
	Totals func() []Totals
	// Summaries tells of all upstreams, by name, without figures.
	Summaries func() []Summary
	// Upstream tells all about one, without figures; false if there is none.
	Upstream func(service string) (Upstream, bool)
	// Config tells what the process goes by.
	Config func() Config
	// Security tells how calls are secured.
	Security func() Security
	// Events tells what has happened, latest first.
	Events func() []Event
	// Work tells what goes on beyond single calls.
	Work func(ctx context.Context) Work
	// Explain says what would become of a request.
	Explain func(ctx context.Context, q Question) (Explanation, error)
	// Mesh tells who calls whom in the whole mesh, if that can be known.
	Mesh func(ctx context.Context) ([]Edge, error)

	// Forgive puts an instance back into rotation. Nil: the page is read-only.
	Forgive func(service, instance string) error
	// Duties are what else may be done by hand just now.
	Duties func() []Duty

	// Every is how often figures are taken and listeners told. Default 2 s.
	Every time.Duration
	// Listeners is how many may listen at once. Default 16.
	Listeners int
	// Logger hears of faults of the page itself. Default: slog.Default().
	Logger *slog.Logger
}

// Totals are what was counted so far of the calls to an upstream.
type Totals struct {
	Service       string
	Calls, Failed uint64
	Took          window.Counts
}

// Duty is something that an operator may have done.
type Duty struct {
	// ID names it in requests, Label on its button, Hint beside it.
	ID, Label, Hint string
	// Do does it.
	Do func(ctx context.Context) error
}

func (o Options) withDefaults() Options {
	o.Every = cmp.Or(o.Every, 2*time.Second)
	o.Listeners = cmp.Or(o.Listeners, 16)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// errUnknown is told for what does not exist.
var errUnknown = errors.New("there is no such thing here")
