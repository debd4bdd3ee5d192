package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// OutboxOptions configure an [Outbox]. Sink and Sender are required; every other
// zero value is the documented default.
type OutboxOptions struct {
	// Sink keeps the letters until they are delivered. It stays open when the
	// outbox is closed.
	Sink Sink
	// Sender sends them.
	Sender Sender
	// Workers is how many are sent at a time. Default 4.
	Workers int
	// Attempts is how often a letter is sent before it is dead. Default 10;
	// negative: for ever.
	Attempts int
	// Backoff is how long a letter rests after a failed sending. Default 200 ms
	// to 1 minute.
	Backoff Backoff
	// Pause is how long the letters of a service are left alone after the library
	// has refused to call it: no instance, breaker open. Default 5 s.
	Pause time.Duration
	// Timeout bounds one sending. Default 30 s.
	Timeout time.Duration
	// Lease is how long a letter is ours before others may take it. Default
	// twice the Timeout; it must be longer than that.
	Lease time.Duration
	// Poll is how often the sink is asked for letters that others have put into
	// it. Default 1 s.
	Poll time.Duration
	// Request says how requests become letters; MaxBody, Secrets, Keep and
	// Labels hold for all letters.
	Request RequestOptions
	// Owner names this process in the sink. Default: host and process number.
	Owner string
	// Logger hears of letters that die, are parked or expire, and of a sink that
	// fails. Default: slog.Default().
	Logger *slog.Logger
}

// Validate names every field that is missing or out of range.
func (o OutboxOptions) Validate() error {
	return errors.Join(
		required("Sink", o.Sink != nil), required("Sender", o.Sender != nil),
		notNegative("Workers", o.Workers), notNegative("Pause", o.Pause), notNegative("Timeout", o.Timeout),
		notNegative("Poll", o.Poll), o.Backoff.validate("Backoff"), leaseFits(o.Lease, o.Timeout), o.Request.validate("Request"),
	)
}

// Outbox sends letters later: Enqueue returns once a letter is durable, and it is
// delivered at least once, by this process or by another that works on the same
// sink after it has died. Letters are not kept in order. One that fails for good
// is a dead letter in the same sink. It is safe for concurrent use.
type Outbox struct {
	o       OutboxOptions
	courier *courier

	slots   chan struct{} // one for each worker
	wake    chan struct{}
	closing chan struct{}
	once    sync.Once
	done    chan struct{}
	abort   context.CancelFunc
}

// NewOutbox returns an outbox that has begun to send what its sink has. Close it.
func NewOutbox(o OutboxOptions) (*Outbox, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("deadletter.OutboxOptions: %w", err)
	}
	o.Workers = cmp.Or(o.Workers, 4)
	o.Attempts = cmp.Or(o.Attempts, 10)
	o.Poll = cmp.Or(o.Poll, time.Second)
	ctx, abort := context.WithCancel(context.Background()) // what it sends belongs to nobody's request
	b := &Outbox{
		o: o, slots: make(chan struct{}, o.Workers), wake: make(chan struct{}, 1),
		closing: make(chan struct{}), done: make(chan struct{}), abort: abort,
	}
	b.courier = newCourier(o.Sink, o.Sender, o.Owner, o.Timeout, o.Lease, o.Pause, o.Logger)
	b.courier.backoff = Backoff{
		cmp.Or(o.Backoff.Base, 200*time.Millisecond), cmp.Or(o.Backoff.Max, max(time.Minute, o.Backoff.Base)),
	}
	b.courier.failed = b.failed
	go b.run(ctx)
	return b, nil
}

// Enqueue keeps a letter to be sent and returns its ID. When the error is nil the
// letter will be delivered, or is found in the sink. After an error it may have
// been kept all the same; to try again without sending twice, give the letter an
// ID, or a key, of your own: a letter whose ID is there already is not kept again.
//
// What the letter does not say is filled in: ID, key, time. Its secrets are taken
// out.
func (b *Outbox) Enqueue(ctx context.Context, l Letter) (string, error) {
	select {
	case <-b.closing:
		return "", fmt.Errorf("enqueue for %s: %w", l.Service, ErrClosed)
	default:
	}
	if l.Incomplete {
		return "", fmt.Errorf("enqueue for %s: %w", l.Service, ErrIncomplete)
	}
	if have, most := len(l.Body), b.o.Request.maxBody(); have > most {
		return "", fmt.Errorf("enqueue for %s: %d bytes: %w", l.Service, have, ErrTooLarge)
	}
	l.Fill(time.Now())
	l.State = Queued
	b.o.Request.apply(&l)
	if err := b.o.Sink.Put(ctx, l); err != nil && !errors.Is(err, ErrExists) {
		return "", fmt.Errorf("enqueue: %w", err)
	}
	b.nudge()
	return l.ID, nil
}

// EnqueueRequest makes a letter of a request and enqueues it. The body is read
// and closed.
func (b *Outbox) EnqueueRequest(ctx context.Context, req *http.Request) (string, error) {
	l, err := NewLetter(req, b.o.Request)
	if err != nil {
		return "", fmt.Errorf("enqueue: %w", err)
	}
	return b.Enqueue(ctx, l)
}

// Close takes no more letters, sends those that are due, and returns when that is
// done. When ctx ends before, it stops at once: what is being sent is aborted and
// stays in the sink with the rest, for the next outbox; the error says so.
func (b *Outbox) Close(ctx context.Context) error {
	b.once.Do(func() { close(b.closing) })
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
	}
	b.abort()
	<-b.done
	return fmt.Errorf("close the outbox: letters are left to the next one: %w", ctx.Err())
}

// failed counts, and lets the letter die after its last attempt.
func (b *Outbox) failed(l *Letter) int {
	if b.o.Attempts > 0 && l.Deliveries >= b.o.Attempts {
		l.State = Waiting
		b.courier.log.Warn("letter is dead: all attempts to send it have failed", "letter", *l, "error", l.Error)
	}
	return l.Deliveries
}

// run hands letters out to as many workers as are free.
func (b *Outbox) run(ctx context.Context) {
	defer close(b.done)
	defer b.abort()
	var sending sync.WaitGroup
	defer sending.Wait()
	sweep := time.NewTicker(time.Minute)
	defer sweep.Stop()
	timer := time.NewTimer(b.o.Poll)
	defer timer.Stop()
	for ctx.Err() == nil {
		free := b.free(ctx)
		if free == 0 {
			return
		}
		letters, _ := b.courier.claim(ctx, Filter{States: []State{Queued}}, free) // told of, and asked again
		for _, l := range letters {
			sending.Go(func() { b.send(ctx, l) })
		}
		for range free - len(letters) {
			<-b.slots
		}
		if len(letters) > 0 {
			continue
		}
		if b.isClosing() && len(b.slots) == 0 {
			return
		}
		timer.Reset(b.o.Poll)
		select {
		case <-b.wake:
		case <-timer.C:
		case <-sweep.C:
			b.courier.expire(ctx, Filter{States: []State{Queued}})
		case <-b.closed():
		case <-ctx.Done():
		}
	}
}

// free takes all free slots, waiting for one at least.
func (b *Outbox) free(ctx context.Context) (n int) {
	select {
	case b.slots <- struct{}{}:
		n++
	case <-ctx.Done():
		return 0
	}
	for n < b.o.Workers {
		select {
		case b.slots <- struct{}{}:
			n++
		default:
			return n
		}
	}
	return n
}

func (b *Outbox) send(ctx context.Context, l Letter) {
	end := b.courier.deliver(ctx, l)
	<-b.slots
	switch wait := time.Until(end.again); {
	case b.isClosing():
		b.nudge()
	case end.fate == failed && wait < b.o.Poll:
		time.AfterFunc(wait, b.nudge)
	}
}

func (b *Outbox) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *Outbox) isClosing() bool {
	select {
	case <-b.closing:
		return true
	default:
		return false
	}
}

// closed is what tells run of Close, once: afterwards it looks at the slots.
func (b *Outbox) closed() <-chan struct{} {
	if b.isClosing() {
		return nil
	}
	return b.closing
}
