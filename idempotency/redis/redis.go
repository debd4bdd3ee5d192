package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/innermesh/innermesh/idempotency"
)

// Options connect a [Store]. Only Client is required.
type Options struct {
	// Client speaks to Redis. It must be made with ContextTimeoutEnabled, or it
	// would not keep the time that a question has. The store does not close it.
	// Required.
	Client goredis.UniversalClient
	// Prefix is what the names of all its keys begin with, for instance with the
	// name of the service: services that share a Redis must differ in it. Default
	// "idempotency:".
	Prefix string
}

// Validate names every field that is wrong.
func (o Options) Validate() error {
	var timed bool
	switch c := o.Client.(type) {
	case nil:
		return errors.New("no Client: it is required")
	case *goredis.Client:
		timed = c.Options().ContextTimeoutEnabled
	case *goredis.ClusterClient:
		timed = c.Options().ContextTimeoutEnabled
	case *goredis.Ring:
		timed = c.Options().ContextTimeoutEnabled
	default: // somebody's own
		timed = true
	}
	if !timed {
		return errors.New("the Client does not keep the time of a context: make it with ContextTimeoutEnabled")
	}
	return nil
}

// Store is an [idempotency.Store] in Redis. A question whose context is canceled
// on its way is given up when its deadline is over.
type Store struct{ o Options }

// New returns a store. It does not ask Redis anything.
func New(o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("idempotency redis: %w", err)
	}
	o.Prefix = cmp.Or(o.Prefix, "idempotency:")
	return &Store{o}, nil
}

// Begin implements [idempotency.Store].
func (s *Store) Begin(ctx context.Context, c idempotency.Claim) (idempotency.Entry, error) {
	answer, err := s.ask(ctx, begin, c.ID, c.Token[:], c.Fingerprint[:], millis(c.Lease), millis(c.TTL))
	if err != nil {
		return idempotency.Entry{}, fmt.Errorf("idempotency redis: begin: %w", err)
	}
	e := idempotency.Entry{State: idempotency.State(answer.state)}
	switch e.State {
	case idempotency.First:
		e.Owner = answer.owners
	case idempotency.Done:
		if err := e.Outcome.UnmarshalBinary([]byte(answer.outcome)); err != nil {
			return idempotency.Entry{}, fmt.Errorf("idempotency redis: begin: %w", err)
		}
	default:
	}
	return e, nil
}

// Renew implements [idempotency.Store].
func (s *Store) Renew(ctx context.Context, id idempotency.ID, t idempotency.Token, lease time.Duration) error {
	if _, err := s.ask(ctx, renew, id, t[:], millis(lease)); err != nil {
		return fmt.Errorf("idempotency redis: renew: %w", err)
	}
	return nil
}

// Complete implements [idempotency.Store].
func (s *Store) Complete(
	ctx context.Context, id idempotency.ID, t idempotency.Token, o idempotency.Outcome, ttl time.Duration,
) error {
	encoded, err := o.MarshalBinary()
	if err != nil {
		return fmt.Errorf("idempotency redis: complete: %w", err)
	}
	if _, err := s.ask(ctx, complete, id, t[:], encoded, millis(ttl)); err != nil {
		return fmt.Errorf("idempotency redis: complete: %w", err)
	}
	return nil
}

// Abandon implements [idempotency.Store].
func (s *Store) Abandon(ctx context.Context, id idempotency.ID, t idempotency.Token) error {
	if _, err := s.ask(ctx, abandon, id, t[:]); err != nil {
		return fmt.Errorf("idempotency redis: abandon: %w", err)
	}
	return nil
}

// answer is what a script says.
type answer struct {
	state   int64
	owners  int
	outcome string
}

// ask runs a script for one operation.
func (s *Store) ask(ctx context.Context, script *goredis.Script, id idempotency.ID, args ...any) (a answer, err error) {
	if err := ctx.Err(); err != nil {
		return a, err
	}
	said, err := script.Run(ctx, s.o.Client, []string{s.o.Prefix + id.String()}, args...).Slice()
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return a, fmt.Errorf("%w: %w", ctx.Err(), err)
	case goredis.IsOOMError(err):
		return a, fmt.Errorf("%w: %w", idempotency.ErrFull, err)
	case goredis.HasErrorPrefix(err, "WRONGTYPE"):
		return a, fmt.Errorf("%w: its key is not a hash", idempotency.ErrCorrupt)
	default:
		return a, err
	}
	if a.state, err = number(said, 0); err != nil {
		return a, err
	}
	switch {
	case a.state == isLost:
		return a, idempotency.ErrLost
	case a.state == isCorrupt:
		return a, fmt.Errorf("%w: its fields are not those of version 1", idempotency.ErrCorrupt)
	case a.state == int64(idempotency.First) && script == begin:
		owners, err := number(said, 1)
		a.owners = int(owners)
		return a, err
	case a.state == int64(idempotency.Done) && len(said) > 1:
		a.outcome, _ = said[1].(string) // an empty one does not decode
	}
	return a, nil
}

func number(said []any, i int) (int64, error) {
	if i < len(said) {
		if n, ok := said[i].(int64); ok {
			return n, nil
		}
	}
	return 0, fmt.Errorf("the script's answer %v can not be read", said)
}

// millis rounds up: Redis takes no time for none.
func millis(d time.Duration) int64 { return max(1, int64((d+time.Millisecond-1)/time.Millisecond)) }
