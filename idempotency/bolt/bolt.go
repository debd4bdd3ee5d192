package bolt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/innermesh/innermesh/idempotency"
)

// Store is an [idempotency.Store] in a file. All that waits to be written goes
// to the disk together, with one wait for it.
type Store struct {
	db     *bbolt.DB
	epoch  idempotency.Token // of this run: no other process has the file now
	writes chan *write
	stop   chan struct{}
	ended  chan struct{}
	close  sync.Once
	err    error // of closing

	spoiled atomic.Pointer[error] // set when bbolt can not go on with the file
}

// The file has operations by ID, and their ends by time and ID. Both names
// change when what they hold changes its meaning.
var (
	operations = []byte("idempotency.operations.1")
	expiries   = []byte("idempotency.expiries.1")
)

// Open opens the file, and starts the one goroutine that writes to it; Close
// ends it.
func Open(o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("idempotency bolt: %w", err)
	}
	o = o.withDefaults()
	db, err := bbolt.Open(o.Path, 0o600, &bbolt.Options{
		Timeout: o.OpenTimeout, MaxSize: o.MaxBytes, NoSync: o.NoSync, NoStatistics: true,
		// A list of free pages written with each change would cost more than to
		// find them when opening.
		NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("open the idempotency store %s: another process has it open: %w", o.Path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open the idempotency store %s: %w", o.Path, err)
	}
	s := &Store{
		db: db, epoch: idempotency.NewToken(),
		writes: make(chan *write), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	err = s.guarded(func() error {
		return db.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucketIfNotExists(operations)
			if err == nil {
				_, err = tx.CreateBucketIfNotExists(expiries)
			}
			return err
		})
	})
	if err != nil {
		_ = db.Close() // the first error says more
		return nil, fmt.Errorf("open the idempotency store %s: %w", o.Path, err)
	}
	go s.run()
	return s, nil
}

// Begin implements [idempotency.Store]. A repeat only reads.
func (s *Store) Begin(ctx context.Context, c idempotency.Claim) (e idempotency.Entry, err error) {
	if err := ctx.Err(); err != nil {
		return e, err
	}
	err = s.guarded(func() error {
		return s.db.View(func(tx *bbolt.Tx) (err error) {
			now := time.Now()
			if r, known, err := load(tx, c.ID, now); err != nil || known {
				if err == nil {
					e, err = r.entry(c, s.epoch, now)
				}
				return err
			}
			return nil
		})
	})
	if err != nil || e.State != 0 {
		return e, told("begin", err)
	}
	err = s.write(ctx, func(tx *bbolt.Tx, now time.Time) error {
		r, known, err := load(tx, c.ID, now)
		if err != nil {
			return err
		}
		if known {
			if e, err = r.entry(c, s.epoch, now); err != nil || e.State != 0 {
				return err
			}
		}
		if !known || r.token != c.Token {
			r.owners++
		}
		before := r.expires
		r.fingerprint, r.token, r.epoch = c.Fingerprint, c.Token, s.epoch
		r.lease, r.expires = now.Add(c.Lease), now.Add(c.TTL)
		e = idempotency.Entry{State: idempotency.First, Owner: int(r.owners)}
		return save(tx, c.ID, r, before)
	})
	if err != nil {
		e = idempotency.Entry{}
	}
	return e, told("begin", err)
}

// Renew implements [idempotency.Store].
func (s *Store) Renew(ctx context.Context, id idempotency.ID, t idempotency.Token, lease time.Duration) error {
	return told("renew", s.write(ctx, func(tx *bbolt.Tx, now time.Time) error {
		r, known, err := load(tx, id, now)
		if err != nil {
			return err
		}
		if !known || r.token != t || r.done {
			return idempotency.ErrLost
		}
		before := r.expires
		r.lease = now.Add(lease)
		if r.expires.Before(r.lease) {
			r.expires = r.lease
		}
		return save(tx, id, r, before)
	}))
}

// Complete implements [idempotency.Store].
func (s *Store) Complete(
	ctx context.Context, id idempotency.ID, t idempotency.Token, o idempotency.Outcome, ttl time.Duration,
) error {
	encoded, err := o.MarshalBinary()
	if err != nil {
		return told("complete", err)
	}
	return told("complete", s.write(ctx, func(tx *bbolt.Tx, now time.Time) error {
		r, known, err := load(tx, id, now)
		switch {
		case err != nil:
			return err
		case !known || r.token != t:
			return idempotency.ErrLost
		case r.done: // asked again
			return nil
		}
		before := r.expires
		r.done, r.outcome, r.expires = true, encoded, now.Add(ttl)
		return save(tx, id, r, before)
	}))
}

// Abandon implements [idempotency.Store].
func (s *Store) Abandon(ctx context.Context, id idempotency.ID, t idempotency.Token) error {
	return told("abandon", s.write(ctx, func(tx *bbolt.Tx, now time.Time) error {
		r, known, err := load(tx, id, now)
		switch {
		case err != nil:
			return err
		case !known:
			return nil
		case r.token != t || r.done:
			return idempotency.ErrLost
		}
		return remove(tx, id, r.expires)
	}))
}

// Close ends what is being written, and closes the file. Later calls get
// [idempotency.ErrClosed]. A file that was spoiled while it was open stays open
// until the program ends.
func (s *Store) Close() error {
	s.close.Do(func() {
		close(s.stop)
		<-s.ended
		if spoiled := s.spoiled.Load(); spoiled != nil {
			s.err = *spoiled // the file stays open: bbolt could not close it
			return
		}
		s.err = s.db.Close() // waits for readers
	})
	return s.err
}

// told says which question an error answers, decisions excepted.
func told(verb string, err error) error {
	switch {
	case err == nil, errors.Is(err, idempotency.ErrLost):
		return err
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return idempotency.ErrClosed
	default:
		return fmt.Errorf("idempotency bolt: %s: %w", verb, err)
	}
}
