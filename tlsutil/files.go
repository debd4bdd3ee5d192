package tlsutil

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// The names that Kubernetes and cert-manager give to the parts of a TLS secret.
const (
	certFile  = "tls.crt"
	keyFile   = "tls.key"
	rootsFile = "ca.crt"
)

// FilesOptions say where a certificate lies.
type FilesOptions struct {
	// Dir is the folder of the files that are not named below.
	Dir string
	// Cert holds the leaf and then its intermediates, PEM. Default: tls.crt in
	// Dir.
	Cert string
	// Key holds the leaf's private key, PEM. Default: tls.key in Dir.
	Key string
	// Roots holds the CA certificates of the leaf's trust domain, PEM. Default:
	// ca.crt in Dir.
	Roots string
	// Every is how often the files are looked at. Default: 10 s. Negative: only
	// when Reload is called.
	Every time.Duration
	// Log hears of changes and refusals, once each. Default: slog.Default().
	Log *slog.Logger
}

// Validate reports all faults with the names of their fields.
func (o FilesOptions) Validate() error {
	var faults []error
	for _, f := range []struct{ field, path string }{{"Cert", o.Cert}, {"Key", o.Key}, {"Roots", o.Roots}} {
		if f.path == "" && o.Dir == "" {
			faults = append(faults, fmt.Errorf("%s: a path is needed, or Dir", f.field))
		}
	}
	return errors.Join(faults...)
}

// Files is a [Source] that reads its identity from disk and follows the files:
// by content, so that an atomic rename, a swapped symlink (Kubernetes) and a
// rewrite within one clock tick are all seen.
//
// A set of files is taken whole or not at all. While a key does not belong to
// its certificate, a file can not be read or parsed, or the certificate is not
// valid under the roots beside it, the last good identity stays and Err tells
// why; once that one expires, Identity says so.
//
// Safe for concurrent use. Close ends its goroutine.
type Files struct {
	cell
	opts FilesOptions

	refused atomic.Pointer[refusal] // apart from mu: Identity must not wait for a disk

	mu   sync.Mutex // one reader of the files at a time; guards what follows
	seen [sha256.Size]byte
	told string

	closing sync.Once
	done    chan struct{}
	polls   sync.WaitGroup
}

// refusal is why the files, as last seen, are not in use; nil if they are.
type refusal struct{ err error }

// NewFiles reads the files, and fails if they hold no good identity: a wrong
// path is better found at once. Then it follows them until Close.
func NewFiles(o FilesOptions) (*Files, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("identity files: %w", err)
	}
	o.Cert = cmp.Or(o.Cert, filepath.Join(o.Dir, certFile))
	o.Key = cmp.Or(o.Key, filepath.Join(o.Dir, keyFile))
	o.Roots = cmp.Or(o.Roots, filepath.Join(o.Dir, rootsFile))
	o.Every = cmp.Or(o.Every, 10*time.Second)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	f := &Files{opts: o, done: make(chan struct{})}
	if err := f.read(time.Now()); err != nil {
		return nil, fmt.Errorf("identity files: %w", err)
	}
	if o.Every > 0 {
		f.polls.Go(f.poll)
	}
	return f, nil
}

// Identity returns the last good identity. If it has expired, the error says so
// and why there is no newer one.
func (f *Files) Identity() (*Identity, error) {
	id := f.identity.Load()
	if err := id.Valid(time.Now()); err != nil {
		if refused := f.Err(); refused != nil && !errors.Is(refused, ErrExpired) {
			err = fmt.Errorf("%w; newer files: %w", err, refused)
		}
		return nil, err
	}
	return id, nil
}

// Err returns why the files, as they were last seen, were refused; nil if they
// are in use.
func (f *Files) Err() error {
	if r := f.refused.Load(); r != nil {
		return r.err
	}
	return nil
}

// Reload looks at the files now, and returns what Err would.
func (f *Files) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.identity.Load()
	err := f.read(time.Now())
	if err == nil {
		f.refused.Store(nil)
	} else {
		f.refused.Store(&refusal{err})
	}
	f.tell(before, err)
	return err
}

// Close stops following the files and returns when that has ended. The last
// identity stays in use.
func (f *Files) Close() error {
	f.closing.Do(func() { close(f.done) })
	f.polls.Wait()
	return nil
}

func (f *Files) poll() {
	tick := time.NewTicker(f.opts.Every)
	defer tick.Stop()
	for {
		select {
		case <-f.done:
			return
		case <-tick.C:
			_ = f.Reload() // kept for Err, and logged
		}
	}
}

// read takes the files if they are good and other than those in use.
func (f *Files) read(now time.Time) error {
	cert, err := readFile("certificate", f.opts.Cert)
	if err != nil {
		return err
	}
	key, err := readFile("key", f.opts.Key)
	if err != nil {
		return err
	}
	roots, err := readFile("roots", f.opts.Roots)
	if err != nil {
		return err
	}
	sum := sha256.New()
	for _, part := range [][]byte{cert, key, roots} {
		digest := sha256.Sum256(part)
		sum.Write(digest[:])
	}
	seen := [sha256.Size]byte(sum.Sum(nil))
	if id := f.identity.Load(); id != nil && seen == f.seen {
		return id.Valid(now)
	}
	id, err := f.parse(cert, key, roots, now)
	if err != nil {
		return err
	}
	f.seen = seen
	f.store(id)
	return nil
}

// tell logs what has changed since the last look. Called with mu held.
func (f *Files) tell(before *Identity, err error) {
	now := f.identity.Load()
	if now != before {
		f.opts.Log.Info("identity replaced", "id", now.ID().String(), "was", before.ID().String(), "expires", now.NotAfter())
	}
	// An error about time ends with the time, which would make each one new.
	reason := ""
	switch {
	case errors.Is(err, ErrExpired):
		reason = ErrExpired.Error()
	case errors.Is(err, ErrNotYetValid):
		reason = ErrNotYetValid.Error()
	case err != nil:
		reason = err.Error()
	}
	if reason != f.told && err != nil {
		f.opts.Log.Warn("identity files refused", "error", err, "id", now.ID().String(), "expires", now.NotAfter())
	}
	if reason == "" && f.told != "" && now == before {
		f.opts.Log.Info("identity files good again", "id", now.ID().String(), "expires", now.NotAfter())
	}
	f.told = reason
}
