package idempotency

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/innermesh/innermesh/call"
)

// Options configure a [Guard]. Only Store is required; every other zero value is
// the documented default.
type Options struct {
	// Store remembers operations. Required. The guard does not close it.
	Store Store
	// TTL is for how long an outcome is kept. Default 24 h. It has to be longer
	// than the longest time after which a caller tries again.
	TTL time.Duration
	// Lease is after how long another may take over the operation of a process
	// that died. Default 30 s. It is renewed while the operation runs, so it need
	// not be longer than the operation.
	Lease time.Duration
	// Lapsed says what becomes of an operation whose owner died.
	Lapsed Lapsed
	// Wait is how long a repeat waits while the first runs; its context may end
	// earlier. Then it gets [ErrRunning]. Default 30 s; negative: not at all.
	Wait time.Duration
	// Linger is how long a handler may go on after its caller has gone or its
	// caller's deadline is over: who comes again finds an outcome rather than
	// half a job. Default 30 s; negative: not at all.
	Linger time.Duration
	// RetryAfter is after what time callers are asked to come again, with
	// [ErrRunning] and [ErrStore]. Default 1 s.
	RetryAfter time.Duration
	// StoreTimeout bounds each question to the store. Default 1 s.
	StoreTimeout time.Duration
	// FailOpen lets operations run unguarded while the store is full, down, slow
	// or corrupt. Default: they are refused with [ErrStore].
	FailOpen bool
	// MaxRequest is up to what size in bytes a request is compared with the
	// first. Of a larger one the beginning and, if it is known, the length count.
	// Default 1 MiB. So much of it is held in memory.
	MaxRequest int
	// MaxResponse is up to what size in bytes an answer is kept. Of a larger one
	// is kept only that it was given: repeats get [ErrNotKept]. Default 1 MiB. So
	// much of it is held in memory.
	MaxResponse int
	// Keep says whether an outcome is kept. One that is not must have had no
	// effect: a repeat runs again. Default [Keep].
	Keep func(p call.Protocol, status int) bool
	// HTTP is for Middleware alone.
	HTTP HTTPOptions
	// Logger hears of changes of state, once each. Default: slog.Default().
	Logger *slog.Logger
}

// HTTPOptions are for [Guard.Middleware].
type HTTPOptions struct {
	// Methods are guarded; requests with another pass untouched, with a key or
	// without. Default POST and PATCH: the others that are not safe are
	// idempotent by themselves.
	Methods []string
	// Require refuses guarded methods without a key. Default: they pass.
	Require bool
	// Caller tells who sends the request: keys of different callers have nothing
	// to do with each other. Default: the first URI (a SPIFFE ID), else the
	// subject, of a verified client certificate; "" without. Set it if callers
	// that must not see each other's answers are told apart in another way, such
	// as a token.
	Caller func(*http.Request) string
	// Route tells what is asked for: the same key on another route is another
	// operation. Default: method and escaped path.
	Route func(*http.Request) string
}

// Lapsed says what becomes of an operation whose owner died.
type Lapsed uint8

const (
	// Rerun lets the next repeat run the operation again: for operations that are
	// one transaction, or that record the key with their effect.
	Rerun Lapsed = iota
	// Refuse answers all repeats with [ErrLapsed] as long as outcomes are kept:
	// for operations that rather wait for a human than happen twice.
	Refuse
)

func (o Options) withDefaults() Options {
	o.TTL = cmp.Or(o.TTL, 24*time.Hour)
	o.Lease = cmp.Or(o.Lease, 30*time.Second)
	o.Wait = cmp.Or(o.Wait, 30*time.Second)
	o.Linger = cmp.Or(o.Linger, 30*time.Second)
	o.RetryAfter = cmp.Or(o.RetryAfter, time.Second)
	o.StoreTimeout = cmp.Or(o.StoreTimeout, time.Second)
	o.MaxRequest = cmp.Or(o.MaxRequest, 1<<20)
	o.MaxResponse = cmp.Or(o.MaxResponse, 1<<20)
	if o.Keep == nil {
		o.Keep = Keep
	}
	if o.HTTP.Methods == nil {
		o.HTTP.Methods = []string{http.MethodPost, http.MethodPatch}
	}
	if o.HTTP.Caller == nil {
		o.HTTP.Caller = certified
	}
	if o.HTTP.Route == nil {
		o.HTTP.Route = methodAndPath
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Validate names every field that is out of range.
func (o Options) Validate() error {
	var faults []error
	fault := func(bad bool, field string, value any, rule string) {
		if bad {
			faults = append(faults, fmt.Errorf("%s is %v: %s", field, value, rule))
		}
	}
	fault(o.Store == nil, "Store", o.Store, "it is required")
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"TTL", o.TTL}, {"Lease", o.Lease}, {"RetryAfter", o.RetryAfter}, {"StoreTimeout", o.StoreTimeout},
	} {
		fault(d.value < 0, d.field, d.value, "must not be negative")
	}
	all := o.withDefaults()
	// A lease is renewed after a third of it, and the store may take its time.
	fault(o.Lease >= 0 && all.Lease < 10*time.Millisecond, "Lease", o.Lease, "must be at least 10ms")
	fault(o.TTL >= 0 && all.TTL < all.Lease, "TTL", all.TTL, fmt.Sprintf("must not be shorter than Lease, %v", all.Lease))
	fault(o.Lapsed > Refuse, "Lapsed", o.Lapsed, "must be Rerun or Refuse")
	fault(o.MaxRequest < 0, "MaxRequest", o.MaxRequest, "must not be negative")
	fault(o.MaxResponse < 0, "MaxResponse", o.MaxResponse, "must not be negative")
	fault(slices.Contains(o.HTTP.Methods, ""), "HTTP.Methods", o.HTTP.Methods, "must not have an empty one")
	return errors.Join(faults...)
}
