package limit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/innermesh/innermesh/internal/mono"
)

// RateOptions bound how many calls begin in a second: a bucket that holds Burst
// tokens and gets PerSecond new ones. The zero value bounds nothing.
type RateOptions struct {
	// PerSecond is how many calls a second may begin, above 0. Default: any
	// number.
	PerSecond float64
	// Burst is how many may begin at once after a rest. Default: what a second
	// brings, at least 1.
	Burst int
	// Wait is how long a call waits for its turn at most. Default: it does not.
	Wait time.Duration
}

func (o RateOptions) withDefaults() RateOptions {
	if o.Burst == 0 {
		o.Burst = int(min(max(math.Ceil(o.PerSecond), 1), math.MaxInt32))
	}
	return o
}

// Validate names every field that is out of range.
func (o RateOptions) Validate() error {
	var faults []error
	fault := func(bad bool, field string, value any, rule string) {
		if bad {
			faults = append(faults, fmt.Errorf("%s is %v: %s", field, value, rule))
		}
	}
	fault(!(o.PerSecond >= 0), "PerSecond", o.PerSecond, "must not be negative")
	fault(o.Burst < 0, "Burst", o.Burst, "must not be negative")
	fault(o.Wait < 0, "Wait", o.Wait, "must not be negative")
	return errors.Join(faults...)
}

// Rate bounds how many calls begin in a second. It is safe for concurrent use.
type Rate struct {
	name    string
	options RateOptions
	bucket  *rate.Limiter // nil is no bound
}

// NewRate returns a rate whose bucket is full; name appears in errors.
func NewRate(name string, o RateOptions) *Rate {
	o = o.withDefaults()
	r := &Rate{name: name, options: o}
	if o.PerSecond > 0 {
		r.bucket = rate.NewLimiter(rate.Limit(o.PerSecond), o.Burst)
	}
	return r
}

// Enter takes a token, or waits for one as long as the options say and ctx
// allows. It returns a [*RateError], or the cause of ctx. What it returns need
// not be told how the call ended.
func (r *Rate) Enter(ctx context.Context) (Leave, error) {
	now := mono.Now()
	if err := r.EnterAt(now); err == nil || r.options.Wait == 0 {
		return Leave{}, err
	}
	turn := r.bucket.ReserveN(instant(now), 1)
	delay := turn.DelayFrom(instant(now))
	if delay > r.options.Wait {
		turn.CancelAt(instant(now))
		return Leave{}, r.refusal(delay)
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return Leave{waited: delay}, nil
	case <-ctx.Done():
		turn.CancelAt(instant(mono.Now()))
		return Leave{}, fmt.Errorf("wait %v for the rate of %s: %w", delay, r.name, context.Cause(ctx))
	}
}

// EnterAt takes a token at a moment, on any one clock, without waiting.
func (r *Rate) EnterAt(now time.Duration) error {
	if r.bucket == nil || r.bucket.AllowN(instant(now), 1) {
		return nil
	}
	missing := max(1-r.bucket.TokensAt(instant(now)), 0)
	return r.refusal(time.Duration(missing / r.options.PerSecond * float64(time.Second)))
}

func (r *Rate) refusal(after time.Duration) error {
	return &RateError{Name: r.name, PerSecond: r.options.PerSecond, RetryAfter: max(after, 1)}
}

// instant is a moment in the words of x/time.
func instant(now time.Duration) time.Time { return time.Unix(0, int64(now)) }
