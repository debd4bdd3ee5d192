package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/innermesh/innermesh/idempotency"
)

// write is one change that waits for its turn. What it returns is told to who
// asked, not to the file: a change that fails has changed nothing.
type write struct {
	ctx    context.Context //nolint:containedctx // of who asked, for the length of the question
	change func(tx *bbolt.Tx, now time.Time) error
	answer chan error
}

const (
	// together is how many changes go to the disk at once, at most.
	together = 256
	// forgotten is how many operations are forgotten beside them.
	forgotten = 512
)

// write has a change made, and returns when the disk has it.
func (s *Store) write(ctx context.Context, change func(tx *bbolt.Tx, now time.Time) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &write{ctx: ctx, change: change, answer: make(chan error, 1)}
	select {
	case s.writes <- w:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stop:
		return idempotency.ErrClosed
	}
	select {
	case err := <-w.answer:
		return err
	case <-ctx.Done(): // it may yet be made
		return ctx.Err()
	}
}

// run is the one goroutine that writes.
func (s *Store) run() {
	defer close(s.ended)
	for {
		select {
		case w := <-s.writes:
			s.commit(s.more([]*write{w}))
		case <-s.stop:
			return
		}
	}
}

// more adds those who wait already.
func (s *Store) more(batch []*write) []*write {
	for len(batch) < together {
		select {
		case w := <-s.writes:
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

// commit makes changes in one transaction, and answers. If it fails, each is
// tried alone: one that is too large must not stop the others.
func (s *Store) commit(batch []*write) {
	answers := make([]error, len(batch))
	err := s.guarded(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			now := time.Now()
			if err := forget(tx, now); err != nil {
				return err
			}
			for i, w := range batch {
				if answers[i] = w.ctx.Err(); answers[i] != nil {
					continue // nobody would learn of it
				}
				err := w.change(tx, now)
				if !decided(err) {
					return err
				}
				answers[i] = err
			}
			return nil
		})
	})
	if err != nil && len(batch) > 1 {
		for _, w := range batch {
			s.commit([]*write{w})
		}
		return
	}
	for i, w := range batch {
		if err != nil {
			answers[i] = err
		}
		w.answer <- answers[i]
	}
}

// decided says whether an error is the answer, rather than trouble in writing.
func decided(err error) bool {
	return err == nil || errors.Is(err, idempotency.ErrLost) || errors.Is(err, idempotency.ErrCorrupt)
}

// load returns what the file has for an operation whose time is not over.
func load(tx *bbolt.Tx, id idempotency.ID, now time.Time) (r record, known bool, err error) {
	data := tx.Bucket(operations).Get(id[:])
	if data == nil {
		return record{}, false, nil
	}
	r, err = decode(data)
	if err == nil && !now.Before(r.expires) {
		return record{}, false, nil
	}
	return r, err == nil, err
}

// save keeps a record. before is when the former one would have expired.
func save(tx *bbolt.Tx, id idempotency.ID, r record, before time.Time) error {
	ends := tx.Bucket(expiries)
	if !before.Equal(r.expires) {
		if err := ends.Delete(expiryKey(id, before)); err != nil {
			return err
		}
		if err := ends.Put(expiryKey(id, r.expires), nil); err != nil {
			return err
		}
	}
	return tx.Bucket(operations).Put(id[:], r.encode())
}

func remove(tx *bbolt.Tx, id idempotency.ID, expires time.Time) error {
	if err := tx.Bucket(expiries).Delete(expiryKey(id, expires)); err != nil {
		return err
	}
	return tx.Bucket(operations).Delete(id[:])
}

// forget removes some of what is over. It costs one look if nothing is.
func forget(tx *bbolt.Tx, now time.Time) error {
	var over [][]byte
	until := expiryKey(idempotency.ID{}, now.Add(time.Millisecond))
	ends := tx.Bucket(expiries).Cursor()
	for k, _ := ends.First(); k != nil && bytes.Compare(k, until) < 0 && len(over) < forgotten; k, _ = ends.Next() {
		over = append(over, bytes.Clone(k))
	}
	for _, k := range over {
		if err := tx.Bucket(expiries).Delete(k); err != nil {
			return err
		}
		id := k[8:]
		// A record that can not be read goes with the end that it once had.
		r, err := decode(tx.Bucket(operations).Get(id))
		if err == nil && now.Before(r.expires) {
			continue
		}
		if err := tx.Bucket(operations).Delete(id); err != nil {
			return err
		}
	}
	return nil
}

// expiryKey sorts by time. Its time is that of a record, to the millisecond.
func expiryKey(id idempotency.ID, at time.Time) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())), id[:]...)
}

// guarded runs what touches the file. bbolt panics when pages make no sense, and
// the system raises a fault when a mapped file has become shorter: both are
// trouble with this file, and no reason to end the program. bbolt may then hold
// its locks for ever, so nobody asks it again.
func (s *Store) guarded(touch func() error) (err error) {
	if spoiled := s.spoiled.Load(); spoiled != nil {
		return *spoiled
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the file is spoiled: %v", idempotency.ErrCorrupt, p)
			s.spoiled.Store(&err)
		}
	}()
	err = touch()
	if errors.Is(err, berrors.ErrMaxSizeReached) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w: %w", idempotency.ErrFull, err)
	}
	return err
}
