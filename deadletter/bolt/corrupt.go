package bolt

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/innermesh/innermesh/deadletter"
)

// CorruptError is a file that can not be trusted. Nothing in it was changed.
type CorruptError struct {
	// Path is the file, Copy where it was copied to, empty if that has failed
	// too: Err says why.
	Path, Copy string
	Err        error
}

// Error says what is wrong and what to do.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("open %s: it is damaged: %v; a copy is at %q: move the file away to begin anew, "+
		"then deadletter.Salvage and Put bring back what can be read of the copy", e.Path, e.Err, e.Copy)
}

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// open opens the file, checks every letter and fills the index.
func (s *Sink) open() (err error) {
	_, statErr := os.Stat(s.path)
	fresh := errors.Is(statErr, fs.ErrNotExist)
	if s.db, err = openFile(s.path, s.o); err != nil {
		if refused, ok := errors.AsType[*refusedError](err); ok {
			return fmt.Errorf("open %s: %w", s.path, refused.err)
		}
		return s.quarantine(err)
	}
	if err := guarded(s.load); err != nil {
		if errors.Is(err, deadletter.ErrVersion) || ofSystem(err) {
			return errors.Join(fmt.Errorf("open %s: %w", s.path, err), s.db.Close())
		}
		return errors.Join(s.quarantine(err), guarded(s.db.Close))
	}
	err = os.Chmod(s.path, 0o600) // an older file may be more open
	if err == nil && fresh {
		err = syncDir(s.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open %s: %w", s.path, err), s.db.Close())
	}
	return nil
}

// refusedError is a file that could not be opened although nothing is wrong with
// what is in it.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }

// openFile opens the file. bbolt panics on some kinds of damage and leaves the
// file locked, which is undone here.
func openFile(path string, o Options) (db *bbolt.DB, err error) {
	var file *os.File
	open := func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
		file, err = os.OpenFile(name, flag, mode)
		return file, err
	}
	err = guarded(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: o.LockWait, OpenFile: open, FreelistType: bbolt.FreelistMapType,
		})
		return err
	})
	switch {
	case errors.Is(err, deadletter.ErrCorrupt):
		unlock(file)
	case ofSystem(err):
		return nil, &refusedError{err}
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, &refusedError{fmt.Errorf("another process has it open, waited %v: one process at a time may have it", o.LockWait)}
	}
	return db, err
}

// ofSystem says that it is not the file that is wrong: the disk is full, say.
func ofSystem(err error) bool {
	_, ok := errors.AsType[syscall.Errno](err)
	return ok
}

// load reads every letter. A file that is shorter than it says is noticed before
// the missing part is touched.
func (s *Sink) load() error {
	st, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	err = s.db.View(func(tx *bbolt.Tx) error {
		if tx.Size() > st.Size() {
			return fmt.Errorf("it has %d bytes of %d: %w", st.Size(), tx.Size(), deadletter.ErrCorrupt)
		}
		bucket := tx.Bucket(lettersBucket)
		if bucket == nil {
			return nil
		}
		err := bucket.ForEach(func(id, data []byte) error {
			l, err := deadletter.Decode(data)
			if err == nil && l.ID != string(id) {
				err = fmt.Errorf("it names itself %s: %w", l.ID, deadletter.ErrCorrupt)
			}
			if err != nil {
				return fmt.Errorf("letter %.80q: %w", id, err)
			}
			s.revision.Store(max(s.revision.Load(), l.Revision))
			l.Owner, l.LeasedUntil = "", time.Time{}
			s.index.Set(l)
			return nil
		})
		if want := bucket.Sequence(); err == nil && want != uint64(s.index.Len()) {
			return fmt.Errorf("it has %d letters and says %d: %w", s.index.Len(), want, deadletter.ErrCorrupt)
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(lettersBucket)
		return err
	})
}

// guarded turns what bbolt does about a damaged file, panics and faults of
// memory that is mapped to nothing, into an error.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", deadletter.ErrCorrupt, r)
		}
	}()
	return do()
}

// quarantine copies the file aside, under a name made of its content: the same
// damage is copied once, however often the program is started.
func (s *Sink) quarantine(cause error) error {
	e := &CorruptError{Path: s.path, Err: cause}
	src, err := os.Open(s.path)
	if err != nil {
		e.Err = errors.Join(cause, err)
		return e
	}
	defer src.Close() // only read
	sum := sha256.New()
	if _, err := io.Copy(sum, src); err != nil {
		e.Err = errors.Join(cause, err)
		return e
	}
	to := s.path + ".corrupt-" + hex.EncodeToString(sum.Sum(nil)[:6])
	if _, err := os.Stat(to); err == nil {
		e.Copy = to
		return e
	}
	if err := copyFile(to, src); err != nil {
		e.Err = errors.Join(cause, err)
		return e
	}
	e.Copy = to
	return e
}

func copyFile(to string, src *os.File) error {
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return err
	}
	part := to + ".part"
	dst, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if err = errors.Join(err, dst.Sync(), dst.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	return syncDir(to)
}
