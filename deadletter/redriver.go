package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// RedriverOptions configure a [Redriver]. Sink and Sender are required; every
// other zero value is the documented default.
type RedriverOptions struct {
	// Sink has the letters.
	Sink Sink
	// Sender sends them.
	Sender Sender
	// Rate bounds how many letters are sent a second. Default 10; negative: as
	// fast as they go.
	Rate float64
	// Workers is how many are sent at a time. Default 1.
	Workers int
	// Redrives is how often a letter is sent again before it is parked. Default
	// 5; negative: for ever.
	Redrives int
	// Backoff is how long a letter rests after it has failed again. Default 1
	// minute to 1 hour.
	Backoff Backoff
	// Pause is how long the letters of a service are left alone after the library
	// has refused to call it: no instance, breaker open. Default 5 s.
	Pause time.Duration
	// Timeout bounds one sending. Default 30 s.
	Timeout time.Duration
	// Lease is how long a letter is ours before others may take it. Default
	// twice the Timeout; it must be longer than that.
	Lease time.Duration
	// Poll is how often Run looks for letters. Default 5 s.
	Poll time.Duration
	// Owner names this process in the sink. Default: host and process number.
	Owner string
	// Logger hears of letters that are parked or expire, and of a sink that
	// fails. Default: slog.Default().
	Logger *slog.Logger
}

// Validate names every field that is missing or out of range.
func (o RedriverOptions) Validate() error {
	return errors.Join(
		required("Sink", o.Sink != nil), required("Sender", o.Sender != nil),
		notNegative("Workers", o.Workers), notNegative("Pause", o.Pause), notNegative("Timeout", o.Timeout),
		notNegative("Poll", o.Poll), o.Backoff.validate("Backoff"), leaseFits(o.Lease, o.Timeout),
	)
}

// Redriver sends dead letters again: slowly, with the same idempotency key, and
// not to services that are known to be down. It is safe for concurrent use, and
// several may work on one sink.
type Redriver struct {
	o       RedriverOptions
	courier *courier
	limit   *rate.Limiter
}

// NewRedriver returns a redriver that does nothing by itself: call
// [Redriver.Redrive] or [Redriver.Run].
func NewRedriver(o RedriverOptions) (*Redriver, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("deadletter.RedriverOptions: %w", err)
	}
	o.Rate = cmp.Or(o.Rate, 10)
	o.Workers = cmp.Or(o.Workers, 1)
	o.Redrives = cmp.Or(o.Redrives, 5)
	o.Backoff = Backoff{cmp.Or(o.Backoff.Base, time.Minute), cmp.Or(o.Backoff.Max, max(time.Hour, o.Backoff.Base))}
	o.Poll = cmp.Or(o.Poll, 5*time.Second)
	r := &Redriver{o: o, limit: rate.NewLimiter(rate.Inf, 1)}
	if o.Rate > 0 {
		r.limit = rate.NewLimiter(rate.Limit(o.Rate), 1)
	}
	r.courier = newCourier(o.Sink, o.Sender, o.Owner, o.Timeout, o.Lease, o.Pause, o.Logger)
	r.courier.backoff = o.Backoff
	r.courier.failed = func(l *Letter) int {
		if l.Redrives++; o.Redrives > 0 && l.Redrives >= o.Redrives {
			l.State = Parked
		}
		return l.Redrives
	}
	return r, nil
}

// Report says what became of the letters of one pass.
type Report struct {
	// Delivered are gone from the sink. Failed wait for their next time. Parked
	// wait for somebody to look at them.
	Delivered, Failed, Parked int
	// Refused were put back as they were, because the library would not call
	// their service.
	Refused int
}

// Redrive sends the waiting letters that the filter means and that are due, once
// each, and returns when there are no more. The error is the sink's or ctx's;
// what was done before it is in the report.
//
// For a trial run, list them: [Sink.List] takes the same filter. To send letters
// before they are due, or parked ones, [Revive] them first.
func (r *Redriver) Redrive(ctx context.Context, f Filter) (Report, error) {
	f.States = []State{Waiting}
	var (
		mu     sync.Mutex
		report Report
		faults []error
		wg     sync.WaitGroup
	)
	for range r.o.Workers {
		wg.Go(func() {
			for {
				end, more, err := r.one(ctx, f)
				mu.Lock()
				report.add(end, more)
				if err != nil {
					faults = append(faults, err)
				}
				mu.Unlock()
				if !more {
					return
				}
			}
		})
	}
	wg.Wait()
	return report, errors.Join(faults...)
}

// Run redrives, and expires, until ctx ends; then it returns nil.
func (r *Redriver) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		r.courier.expire(ctx, Filter{States: []State{Waiting, Parked}})
		_, _ = r.Redrive(ctx, Filter{}) // a sink that fails was told of, and is asked again
		timer.Reset(r.o.Poll)
	}
}

// one sends one letter, if there is one.
func (r *Redriver) one(ctx context.Context, f Filter) (end ending, more bool, err error) {
	if err := r.limit.Wait(ctx); err != nil { // before the claim: a lease is not for waiting
		return ending{}, false, fmt.Errorf("redrive: %w", err)
	}
	letters, err := r.courier.claim(ctx, f, 1)
	if err != nil {
		return ending{}, false, fmt.Errorf("redrive: %w", err)
	}
	if len(letters) == 0 {
		return ending{}, false, nil
	}
	return r.courier.deliver(ctx, letters[0]), true, nil
}

func (r *Report) add(e ending, sent bool) {
	switch {
	case !sent:
	case e.fate == delivered:
		r.Delivered++
	case e.fate == failed:
		r.Failed++
	case e.fate == parked:
		r.Parked++
	case e.fate == putBack:
		r.Refused++
	}
}
