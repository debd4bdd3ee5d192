package lastgood

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Options say whose state it is.
type Options struct {
	// Service is the service that the process is. Processes of several services
	// may share a folder. Required.
	Service string
	// Fingerprint is all else that a stored state must have in common with the
	// process: the format of the data, the cluster that it is from. A file with
	// another one is foreign. Default: "".
	Fingerprint string
	// Every is the shortest time between two writes of the same thing; of what
	// comes in between the last is written. Default: 1 s.
	Every time.Duration
	// Log hears of files that are ignored, and once when writing begins to fail
	// and when it works again. Default: slog.Default().
	Log *slog.Logger
}

// Validate reports all faults with the names of their fields.
func (o Options) Validate() error {
	var faults []error
	if o.Service == "" {
		faults = append(faults, fmt.Errorf("%s: is empty: say which service the process is", "Service"))
	}
	if o.Every < 0 {
		faults = append(faults, fmt.Errorf("%s: %s is negative: must be above zero", "Every", o.Every))
	}
	return errors.Join(faults...)
}

// Store keeps named states in a folder.
//
// Safe for concurrent use, also by several processes. Close ends its goroutine.
type Store struct {
	dir  string
	opts Options

	mu      sync.Mutex
	things  map[thing]*state
	failing int // how many things could not be written
	closed  bool

	wake    chan struct{} // holds one: something is to be written
	done    chan struct{}
	writing sync.WaitGroup
	failed  error // why the last writes before the end failed; read after writing
}

// thing is the name of what is stored: "instances" of "stock".
type thing struct{ kind, key string }

// state is what is known of a thing. Guarded by the store's mu.
type state struct {
	waiting *snapshot         // not yet written
	written [sha256.Size]byte // the checksum of the data on disk, if we put it there
	next    time.Time         // not to be written before
	failing bool
}

type snapshot struct {
	data  []byte
	saved time.Time
}

// Open uses a folder, which is made if it is not there, readable to its owner
// alone.
func Open(dir string, o Options) (*Store, error) {
	err := o.Validate()
	if dir == "" {
		err = errors.Join(errors.New("dir: is empty: name a folder"), err)
	}
	if err != nil {
		return nil, fmt.Errorf("open last good states: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open last good states: make the folder: %w", err)
	}
	o.Every = cmp.Or(o.Every, time.Second)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Store{
		dir: dir, opts: o, things: make(map[thing]*state),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	sweep(dir)
	s.writing.Go(s.run)
	return s, nil
}

// Put stores the state of a thing, as of now. It does not wait for the disk, and
// a state that is already stored costs no write. The data belongs to the store
// from then on and must not be changed. After Close nothing happens.
func (s *Store) Put(kind, key string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	name := thing{kind, key}
	t := s.things[name]
	if t == nil {
		t = &state{}
		s.things[name] = t
	}
	t.waiting = &snapshot{data, time.Now()}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Get returns the last state of a thing that was stored, by this process or one
// before it, and when that was. ok is false if there is none that can be used;
// why is logged unless there simply is none. It reads from the disk.
func (s *Store) Get(kind, key string) (data []byte, saved time.Time, ok bool) {
	name := thing{kind, key}
	s.mu.Lock()
	if t := s.things[name]; t != nil && t.waiting != nil {
		defer s.mu.Unlock()
		return t.waiting.data, t.waiting.saved, true
	}
	s.mu.Unlock()

	path := s.path(name)
	snap, err := s.read(path, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, time.Time{}, false
	case err != nil:
		s.opts.Log.Warn("last good state ignored", "kind", kind, "key", key, "file", path, "error", err)
		return nil, time.Time{}, false
	}
	return snap.data, snap.saved, true
}

// Close writes what waits, and returns when that is done: the error says what
// could not be written.
func (s *Store) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	s.mu.Unlock()
	s.writing.Wait()
	return s.failed
}

func (s *Store) read(path string, name thing) (snapshot, error) {
	file, err := readFile(path)
	if err != nil {
		return snapshot{}, err
	}
	h, data, err := decode(file)
	if err != nil {
		return snapshot{}, err
	}
	if want := s.header(name, h.Saved); h != want {
		return snapshot{}, fmt.Errorf("it is foreign: %s, wanted is %s", h, want)
	}
	return snapshot{data, h.Saved}, nil
}

func (s *Store) header(name thing, saved time.Time) header {
	// JSON has no other strings than those in UTF-8.
	text := func(s string) string { return string([]rune(s)) }
	return header{text(s.opts.Service), text(s.opts.Fingerprint), text(name.kind), text(name.key), saved}
}

func (s *Store) path(name thing) string {
	return filepath.Join(s.dir, fileName(s.opts.Service, name.kind, name.key))
}
