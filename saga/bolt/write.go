package bolt

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/innermesh/innermesh/saga"
)

// maxBatch is how many changes may share one write to the disk.
const maxBatch = 256

// change is one change on its way to the disk.
type change struct {
	do   func(*batch) error
	done chan error // buffered: the writer waits for nobody
}

// change hands a change to the writer and waits until it is durable.
func (l *Log) change(ctx context.Context, do func(*batch) error) error {
	if err := l.usable(); err != nil {
		return err
	}
	c := &change{do: do, done: make(chan error, 1)}
	select {
	case l.changes <- c:
	case <-l.stop:
		return saga.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("wait to write: %w", ctx.Err())
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		// The change refers to what its caller has: better late than torn.
		return <-c.done
	}
}

// write is the goroutine that writes: what has come while it was busy goes into
// the next write together.
func (l *Log) write() {
	defer close(l.ended)
	for {
		select {
		case <-l.stop:
			return
		case c := <-l.changes:
			all := []*change{c}
			for more := true; more && len(all) < maxBatch; {
				select {
				case c := <-l.changes:
					all = append(all, c)
				default:
					more = false
				}
			}
			l.commit(all)
		}
	}
}

// errNothing rolls back a batch in which nobody changed anything.
var errNothing = errors.New("nothing to write")

// commit makes changes in one transaction. One that is refused does not disturb
// the others; a fault of the disk fails all.
func (l *Log) commit(all []*change) {
	b := &batch{l: l, changed: map[string]*saga.Record{}}
	verdicts := make([]error, len(all))
	err := guarded(func() error {
		return l.db.Update(func(tx *bbolt.Tx) error {
			b.open, b.done, b.times = tx.Bucket(openBucket), tx.Bucket(endedBucket), tx.Bucket(timesBucket)
			for i, c := range all {
				if verdicts[i] = c.do(b); b.broken != nil {
					return b.broken
				}
			}
			if !b.dirty {
				return errNothing
			}
			return nil
		})
	})
	if errors.Is(err, errNothing) {
		err = nil
	}
	if err == nil {
		l.mu.Lock()
		for id, h := range b.changed {
			if h == nil {
				delete(l.open, id)
			} else {
				l.open[id] = h
			}
		}
		l.mu.Unlock()
	}
	for i, c := range all {
		if err != nil {
			c.done <- fmt.Errorf("write: %w", err)
		} else {
			c.done <- verdicts[i]
		}
	}
}

// batch is one transaction, and the heads it has changed so far: nil for what is
// not under way any more.
type batch struct {
	l                 *Log
	open, done, times *bbolt.Bucket
	changed           map[string]*saga.Record
	dirty             bool
	broken            error
}

// token returns the fencing token of a saga, and whether there is one.
func (b *batch) token(id string) (token uint64, known bool, err error) {
	h, changed := b.changed[id]
	if !changed {
		b.l.mu.RLock()
		h = b.l.open[id]
		b.l.mu.RUnlock()
	}
	if h != nil {
		return h.Token, true, nil
	}
	data := b.done.Get([]byte(id))
	if data == nil {
		return 0, false, nil
	}
	r, err := saga.Decode(data)
	return r.Token, true, err
}

// put writes a saga where it belongs.
func (b *batch) put(r *saga.Record, data []byte) error {
	id := []byte(r.ID)
	if old := b.done.Get(id); old != nil {
		was, err := saga.Decode(old)
		if err != nil {
			return err
		}
		if err := b.broke(errors.Join(b.times.Delete(timeKey(was.Ended, r.ID)), b.done.Delete(id))); err != nil {
			return err
		}
	}
	if !r.Status.Ended() {
		b.changed[r.ID] = head(r)
		return b.broke(b.open.Put(id, data))
	}
	b.changed[r.ID] = nil
	return b.broke(errors.Join(b.open.Delete(id), b.done.Put(id, data), b.times.Put(timeKey(r.Ended, r.ID), nil)))
}

// broke notes a change, or that the transaction can not go on.
func (b *batch) broke(err error) error {
	b.dirty = true
	if err != nil {
		b.broken = err
	}
	return err
}

// guarded makes an error of bbolt's panic over a file that is damaged.
func guarded(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: the file is damaged: %v", saga.ErrCorrupt, v)
		}
	}()
	return do()
}
