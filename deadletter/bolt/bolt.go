package bolt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/innermesh/innermesh/deadletter"
)

const (
	defaultMaxLetters = 100_000
	defaultMaxSize    = 1 << 30
)

// Options configure a [Sink].
type Options struct {
	// MaxLetters is how many letters the file takes. Default 100,000, of which
	// some 40 MB of memory are spent.
	MaxLetters int
	// MaxSize is about how many bytes the letters may take together. Default
	// 1 GiB.
	MaxSize int64
	// LockWait is how long Open waits for another process to close the file.
	// Default 1 s.
	LockWait time.Duration
}

// Validate names every field that is out of range.
func (o Options) Validate() error {
	var faults []error
	if o.MaxLetters < 0 {
		faults = append(faults, fmt.Errorf("MaxLetters is %d: must not be negative", o.MaxLetters))
	}
	if o.MaxSize < 0 {
		faults = append(faults, fmt.Errorf("MaxSize is %d: must not be negative", o.MaxSize))
	}
	if o.LockWait < 0 {
		faults = append(faults, fmt.Errorf("LockWait is %v: must not be negative", o.LockWait))
	}
	return errors.Join(faults...)
}

// Sink keeps letters in one file on disk, that one process at a time has open.
// Every Put, Update and Remove is on the disk, past the caches of the operating
// system, when it returns; those that come together share one such write.
//
// Because nobody else can have the file open, leases are kept in memory: a
// process that opens the file after another one died finds all letters free.
type Sink struct {
	path string
	o    Options
	db   *bbolt.DB

	revision atomic.Uint64
	commits  chan *commit
	stop     chan struct{}
	stopOnce sync.Once
	stopped  chan struct{}

	mu    sync.RWMutex
	index deadletter.Index
	busy  map[string]bool // being written
}

var lettersBucket = []byte("letters")

// Open opens the file, or makes it, readable for its owner alone. All letters in
// it are checked: a file that is damaged is not opened but copied aside, and the
// error is a [*CorruptError]. A file that another process has open is refused.
//
// The one goroutine it starts writes, and ends with Close.
func Open(path string, o Options) (*Sink, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	o.MaxLetters = cmp.Or(o.MaxLetters, defaultMaxLetters)
	o.MaxSize = cmp.Or(o.MaxSize, defaultMaxSize)
	o.LockWait = cmp.Or(o.LockWait, time.Second)
	s := &Sink{
		path: path, o: o, busy: map[string]bool{},
		commits: make(chan *commit), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	go s.write()
	return s, nil
}

// Put implements [deadletter.Sink].
func (s *Sink) Put(ctx context.Context, l deadletter.Letter) error {
	if err := deadletter.Fit(ctx, &l); err != nil {
		return err
	}
	l.Owner, l.LeasedUntil = "", time.Time{}
	l.Revision = s.revision.Add(1)
	data, err := deadletter.Encode(l)
	if err != nil {
		return err
	}
	return s.commit(ctx, &l, func(t *batch) error {
		n, size := t.room()
		switch {
		case t.current(l.ID) != nil:
			return fmt.Errorf("keep letter %s: %w", l.ID, deadletter.ErrExists)
		case n >= s.o.MaxLetters || size+l.Size() > s.o.MaxSize:
			return fmt.Errorf("keep letter %s in %s, which has %d letters of %d bytes: %w", l.ID, s.path, n, size, deadletter.ErrFull)
		}
		return t.set(&l, data)
	})
}

// List implements [deadletter.Sink].
func (s *Sink) List(ctx context.Context, q deadletter.Query) (deadletter.Page, error) {
	if err := s.usable(ctx); err != nil {
		return deadletter.Page{}, err
	}
	s.mu.RLock()
	ids, next := s.index.List(q)
	slips := s.slips(ids)
	s.mu.RUnlock()
	letters, err := s.read(slips)
	return deadletter.Page{Letters: letters, Next: next}, err
}

// Claim implements [deadletter.Sink]. It does not touch the disk but for reading.
func (s *Sink) Claim(ctx context.Context, c deadletter.Claim) ([]deadletter.Letter, error) {
	if err := errors.Join(s.usable(ctx), c.Prepare()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	ids := s.index.Due(c, func(id string) bool { return s.busy[id] })
	for _, id := range ids {
		s.index.Lease(id, s.revision.Add(1), c)
	}
	slips := s.slips(ids)
	s.mu.Unlock()
	return s.read(slips)
}

// Update implements [deadletter.Sink].
func (s *Sink) Update(ctx context.Context, l deadletter.Letter) (deadletter.Letter, error) {
	if err := deadletter.Fit(ctx, &l); err != nil {
		return deadletter.Letter{}, err
	}
	held := l.Revision
	l.Revision = s.revision.Add(1)
	data, err := deadletter.Encode(l)
	if err != nil {
		return deadletter.Letter{}, err
	}
	err = s.commit(ctx, &l, func(t *batch) error {
		if err := t.check(l.ID, held); err != nil {
			return err
		}
		return t.set(&l, data)
	})
	return l, err
}

// Remove implements [deadletter.Sink].
func (s *Sink) Remove(ctx context.Context, l deadletter.Letter) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	return s.commit(ctx, &l, func(t *batch) error {
		if err := t.check(l.ID, l.Revision); err != nil {
			return err
		}
		return t.delete(l.ID)
	})
}

// Len returns how many letters there are.
func (s *Sink) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.Len()
}

// Close finishes what is being written and closes the file. A second Close does
// nothing.
func (s *Sink) Close() error {
	s.stopOnce.Do(func() { close(s.stop) })
	<-s.stopped
	return s.db.Close()
}

// usable says whether it makes sense to begin.
func (s *Sink) usable(ctx context.Context) error {
	select {
	case <-s.stop:
		return fmt.Errorf("%s: %w", s.path, deadletter.ErrClosed)
	default:
		return ctx.Err()
	}
}

// slips returns what the index knows of letters now.
func (s *Sink) slips(ids []string) []deadletter.Letter {
	all := make([]deadletter.Letter, 0, len(ids))
	for _, id := range ids {
		if l, ok := s.index.Find(id); ok {
			all = append(all, l)
		}
	}
	return all
}

// read adds their weight to letters; those that are gone meanwhile are left out.
// Leases and revisions stay as they were before: so what has changed meanwhile
// is stale, and not taken for the latest.
func (s *Sink) read(slips []deadletter.Letter) (letters []deadletter.Letter, err error) {
	if len(slips) == 0 {
		return nil, nil
	}
	err = s.db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(lettersBucket)
		for _, slip := range slips {
			data := bucket.Get([]byte(slip.ID))
			if data == nil {
				continue
			}
			l, err := deadletter.Decode(data)
			if err != nil {
				return fmt.Errorf("read letter %s of %s: %w", slip.ID, s.path, err)
			}
			l.Owner, l.LeasedUntil, l.Revision = slip.Owner, slip.LeasedUntil, slip.Revision
			letters = append(letters, l)
		}
		return nil
	})
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		err = fmt.Errorf("%s: %w", s.path, deadletter.ErrClosed)
	}
	return letters, err
}

// syncDir makes the file's name durable too.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
