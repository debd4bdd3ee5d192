package lastgood

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"time"
)

// again is how long a write that has failed waits to be tried again: a full
// disk is not emptied by trying.
const again = 30 * time.Second

// run writes what is put until Close, and then once more what still waits.
func (s *Store) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.done:
			s.failed = s.write(true)
			return
		case <-s.wake:
		case <-timer.C:
		}
		_ = s.write(false) // logged, and tried again
		if at, ok := s.next(); ok {
			timer.Reset(time.Until(at))
		}
	}
}

// next says when the first of what waits may be written.
func (s *Store) next() (at time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.things {
		if t.waiting != nil && (!ok || t.next.Before(at)) {
			at, ok = t.next, true
		}
	}
	return at, ok
}

// write writes what may be written now, or all that waits.
func (s *Store) write(all bool) error {
	var errs []error
	for _, name := range s.due(time.Now(), all) {
		if err := s.writeOne(name); err != nil {
			errs = append(errs, fmt.Errorf("keep the %s %q: %w", name.kind, name.key, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) due(now time.Time, all bool) (names []thing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, t := range s.things {
		if t.waiting != nil && (all || !t.next.After(now)) {
			names = append(names, name)
		}
	}
	return names
}

// writeOne writes what waits of a thing, without holding up who puts or gets.
func (s *Store) writeOne(name thing) error {
	s.mu.Lock()
	t := s.things[name]
	snap, written := t.waiting, t.written
	s.mu.Unlock()

	sum := sha256.Sum256(snap.data)
	var err error
	if sum != written {
		err = s.store(name, *snap)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.judge(name, t, err)
	t.next = time.Now().Add(s.opts.Every)
	switch {
	case err == nil:
		t.written = sum
	case !errors.Is(err, errTooLarge):
		t.next = time.Now().Add(max(again, s.opts.Every))
	}
	if t.waiting == snap && (err == nil || errors.Is(err, errTooLarge)) {
		t.waiting = nil // nothing newer has come, and another try would be in vain
	}
	return err
}

// judge logs when the first thing can not be written, and when all can be again.
// Called with mu held.
func (s *Store) judge(name thing, t *state, err error) {
	switch failing := err != nil; {
	case failing == t.failing:
	case failing:
		if s.failing++; s.failing == 1 {
			s.opts.Log.Warn("last good states can not be kept on disk", "kind", name.kind, "key", name.key, "error", err)
		}
	default:
		if s.failing--; s.failing == 0 {
			s.opts.Log.Info("last good states are kept on disk again", "folder", s.dir)
		}
	}
	t.failing = err != nil
}

func (s *Store) store(name thing, snap snapshot) error {
	file, err := encode(s.header(name, snap.saved.UTC()), snap.data)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil { // it may have been deleted
		return err
	}
	return replace(s.path(name), file)
}
