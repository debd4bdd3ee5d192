package bolt

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/innermesh/innermesh/deadletter"
)

// maxBatch is how many changes may share one write to the disk.
const maxBatch = 1024

// commit is one change on its way to the disk.
type commit struct {
	do   func(*batch) error
	done chan error // buffered: the writer waits for nobody
}

// commit hands a change to the writer and waits until it is durable.
func (s *Sink) commit(ctx context.Context, l *deadletter.Letter, do func(*batch) error) error {
	c := &commit{do: do, done: make(chan error, 1)}
	select {
	case s.commits <- c:
	case <-s.stop:
		return fmt.Errorf("%s: letter %s: %w", s.path, l.ID, deadletter.ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("wait for %s to write letter %s: %w", s.path, l.ID, ctx.Err())
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s is writing letter %s, which may succeed yet: %w", s.path, l.ID, ctx.Err())
	}
}

// write is the goroutine that writes. Whatever has come while it was busy goes
// into the next write together: many callers share one trip to the disk, and a
// single one does not wait for others.
func (s *Sink) write() {
	defer close(s.stopped)
	for {
		select {
		case c := <-s.commits:
			s.together(s.gather(c))
		case <-s.stop:
			return
		}
	}
}

func (s *Sink) gather(first *commit) []*commit {
	all := []*commit{first}
	for len(all) < maxBatch {
		select {
		case c := <-s.commits:
			all = append(all, c)
		default:
			return all
		}
	}
	return all
}

// errNothing rolls back a batch in which nobody changed anything.
var errNothing = errors.New("nothing to write")

// together makes the changes in one transaction. A change that is refused does
// not disturb the others; a fault of the disk fails all.
func (s *Sink) together(all []*commit) {
	t := &batch{s: s, changed: map[string]*deadletter.Letter{}}
	verdicts := make([]error, len(all))
	err := s.db.Update(func(tx *bbolt.Tx) error {
		t.bucket = tx.Bucket(lettersBucket)
		for i, c := range all {
			if verdicts[i] = c.do(t); t.broken != nil {
				return t.broken
			}
		}
		if len(t.changed) == 0 {
			return errNothing
		}
		n, _ := t.room()
		return t.bucket.SetSequence(uint64(n)) // who opens the file knows how many there must be
	})
	if errors.Is(err, errNothing) {
		err = nil
	}
	s.settle(t, err == nil)
	for i, c := range all {
		if err != nil {
			c.done <- fmt.Errorf("write %s: %w", s.path, err)
		} else {
			c.done <- verdicts[i]
		}
	}
}

// settle lets everybody see what was written.
func (s *Sink) settle(t *batch, written bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, l := range t.changed {
		delete(s.busy, id)
		switch {
		case !written:
		case l == nil:
			s.index.Delete(id)
		default:
			s.index.Set(*l)
		}
	}
}

// batch is one transaction, and what it has changed so far: nil for deleted.
type batch struct {
	s       *Sink
	bucket  *bbolt.Bucket
	changed map[string]*deadletter.Letter
	letters int // more or less than the index has
	bytes   int64
	broken  error
}

// current returns what is known of a letter, nil if there is none.
func (t *batch) current(id string) *deadletter.Letter {
	if l, ok := t.changed[id]; ok {
		return l
	}
	t.s.mu.RLock()
	defer t.s.mu.RUnlock()
	if l, ok := t.s.index.Find(id); ok {
		return &l
	}
	return nil
}

func (t *batch) check(id string, held uint64) error {
	switch l := t.current(id); {
	case l == nil:
		return fmt.Errorf("letter %s: %w", id, deadletter.ErrNotFound)
	case l.Revision != held:
		return fmt.Errorf("letter %s: %w", id, deadletter.ErrStale)
	default:
		return nil
	}
}

// room returns how many letters there are and what they take.
func (t *batch) room() (letters int, bytes int64) {
	t.s.mu.RLock()
	defer t.s.mu.RUnlock()
	return t.s.index.Len() + t.letters, t.s.index.Bytes() + t.bytes
}

func (t *batch) set(l *deadletter.Letter, data []byte) error {
	if t.current(l.ID) == nil {
		t.letters++
		t.bytes += l.Size()
	}
	if t.broken = t.bucket.Put([]byte(l.ID), data); t.broken == nil {
		t.note(l.ID, l)
	}
	return t.broken
}

func (t *batch) delete(id string) error {
	if t.broken = t.bucket.Delete([]byte(id)); t.broken == nil {
		t.letters--
		t.note(id, nil)
	}
	return t.broken
}

// note keeps claims away from the letter until it is written.
func (t *batch) note(id string, l *deadletter.Letter) {
	t.changed[id] = l
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.busy[id] = true
}
