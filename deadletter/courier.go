package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

// Backoff is how long a letter rests after a failed sending: Base, doubled each
// time, at most Max, of which a random half is taken off.
type Backoff struct {
	Base, Max time.Duration
}

func (b Backoff) validate(field string) error {
	if b.Base < 0 || b.Max < 0 || b.Max != 0 && b.Base > b.Max {
		return fmt.Errorf("%s is %v to %v: must not be negative, nor Base above Max", field, b.Base, b.Max)
	}
	return nil
}

// after returns the rest after n failures.
func (b Backoff) after(n int) time.Duration {
	d := b.Base
	for i := 1; i < n && d < b.Max; i++ {
		d *= 2
	}
	d = max(min(d, b.Max), 2)
	return d/2 + rand.N(d/2)
}

// courier carries letters that were claimed, and settles them in their sink.
type courier struct {
	sink    Sink
	sender  Sender
	owner   string
	timeout time.Duration
	lease   time.Duration
	pause   time.Duration
	backoff Backoff
	log     *slog.Logger
	failed  func(l *Letter) int // counts a failure, moves the letter on if it was the last; which failure it was
	tell    trouble

	mu   sync.Mutex
	held map[string]time.Time // services that have refused, and until when they are left alone
}

func newCourier(sink Sink, sender Sender, owner string, timeout, lease, pause time.Duration, log *slog.Logger) *courier {
	c := &courier{sink: sink, sender: sender}
	c.owner = owner
	if owner == "" {
		c.owner = defaultOwner()
	}
	c.timeout = cmp.Or(timeout, defaultTimeout)
	c.lease = cmp.Or(lease, 2*c.timeout)
	c.pause = cmp.Or(pause, 5*time.Second)
	if c.log = log; log == nil {
		c.log = slog.Default()
	}
	return c
}

// ending is how a claim ended.
type ending struct {
	fate  fate
	again time.Time // when a letter that failed is due again
}

type fate uint8

const (
	delivered fate = iota
	failed         // and put back, or given up
	parked
	putBack // nobody was asked, or there was no time
	gone    // it is somebody else's, or the sink is in trouble
)

// claim takes letters that are due, but for services that are left alone.
func (c *courier) claim(ctx context.Context, f Filter, limit int) ([]Letter, error) {
	now := time.Now()
	letters, err := c.sink.Claim(ctx, Claim{
		Filter: f, Except: c.resting(now), Owner: c.owner, Lease: c.lease, Limit: limit, Now: now,
	})
	if ctx.Err() == nil {
		c.tell.about(ctx, c.log, "claim", err)
	}
	return letters, err
}

// deliver sends one letter and settles it.
func (c *courier) deliver(ctx context.Context, l Letter) ending {
	switch {
	case ctx.Err() != nil || c.isResting(l.Service):
		return c.putBack(ctx, l)
	case l.Incomplete:
		return c.park(ctx, l, Attempt{At: now(), Error: ErrIncomplete.Error()})
	}
	a := Attempt{At: now()}
	sending, cancel := context.WithTimeout(ctx, c.timeout)
	err := c.sender.Send(sending, copied(l))
	cancel()
	a.Took = time.Since(a.At)
	switch {
	case err == nil:
		return c.settle(ctx, delivered, c.sink.Remove, l)
	case ctx.Err() != nil: // we are to stop, it is not the letter's fault
		return c.putBack(ctx, l)
	case refused(err):
		c.rest(l.Service)
		return c.putBack(ctx, l)
	}
	a.fail(err)
	if errors.Is(err, ErrPoison) {
		return c.park(ctx, l, a)
	}
	l.record(a)
	n := c.failed(&l)
	wait := c.backoff.after(n)
	if e, ok := errors.AsType[*StatusError](err); ok {
		wait = max(wait, min(e.RetryAfter, c.backoff.Max))
	}
	l.NotBefore = now().Add(wait)
	end := failed
	if l.State == Parked {
		end = parked
		c.log.Warn("letter parked: it was sent again too often", "letter", l, "error", l.Error)
	}
	e := c.settle(ctx, end, c.update, l)
	e.again = l.NotBefore
	return e
}

func (c *courier) park(ctx context.Context, l Letter, a Attempt) ending {
	l.record(a)
	l.State = Parked
	c.log.Warn("letter parked: it can not be delivered as it is", "letter", l, "error", l.Error)
	return c.settle(ctx, parked, c.update, l)
}

func (c *courier) putBack(ctx context.Context, l Letter) ending {
	return c.settle(ctx, putBack, c.update, l)
}

func (c *courier) update(ctx context.Context, l Letter) error {
	l.Owner, l.LeasedUntil = "", time.Time{}
	_, err := c.sink.Update(ctx, l)
	return err
}

// settling bounds how long a sink may take to note how a sending ended. It goes
// on when everything else is to stop: what is not noted happens once more.
const settling = 5 * time.Second

func (c *courier) settle(ctx context.Context, as fate, do func(context.Context, Letter) error, l Letter) ending {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settling)
	defer cancel()
	err := do(ctx, l)
	if errors.Is(err, ErrStale) || errors.Is(err, ErrNotFound) {
		return ending{fate: gone} // the lease was over; who has it now settles it
	}
	c.tell.about(ctx, c.log, "settle", err)
	if err != nil {
		return ending{fate: gone}
	}
	return ending{fate: as}
}

// rest leaves a service alone for a while.
func (c *courier) rest(service string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = map[string]time.Time{}
	}
	c.held[service] = time.Now().Add(c.pause)
}

func (c *courier) isResting(service string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Before(c.held[service])
}

func (c *courier) resting(now time.Time) (services []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for service, until := range c.held {
		if now.Before(until) {
			services = append(services, service)
		} else {
			delete(c.held, service)
		}
	}
	return services
}

// expire deletes what is of no use any more, and says so.
func (c *courier) expire(ctx context.Context, f Filter) {
	n, err := Expire(ctx, c.sink, f)
	if n > 0 {
		c.log.Warn("letters have expired before they were delivered", "letters", n)
	}
	if ctx.Err() == nil {
		c.tell.about(ctx, c.log, "expire", err)
	}
}

func now() time.Time { return time.Now().UTC() }

// defaultOwner tells processes apart for human eyes.
func defaultOwner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}
