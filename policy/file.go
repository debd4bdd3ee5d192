package policy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// FileOptions say which file it is.
type FileOptions struct {
	// Path is the file's, which [DecodeDocuments] must be able to read. Required.
	Path string
	// Every is how often the file is looked at. Default: 500 ms.
	Every time.Duration
}

// Validate reports all faults with the names of their fields.
func (o FileOptions) Validate() error {
	var faults []error
	if o.Path == "" {
		faults = append(faults, fmt.Errorf("%s: is empty: name the file", "Path"))
	}
	if o.Every < 0 {
		faults = append(faults, fmt.Errorf("%s: %s is negative: must be above zero", "Every", o.Every))
	}
	return errors.Join(faults...)
}

// File is a source of policies that needs nothing but a file, and follows it: by
// content, so that an atomic rename, a swapped symlink (Kubernetes) and a rewrite
// within one clock tick are all seen.
//
// Replace the file by renaming where you can. Half of a YAML file can be a good
// file with half of the policies, so a change is taken only when the file has
// rested for a fifth of Every.
//
// Safe for concurrent use.
type File struct{ opts FileOptions }

// NewFile returns a source. The file is not looked at yet.
func NewFile(o FileOptions) (*File, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("policy file: %w", err)
	}
	o.Every = cmp.Or(o.Every, 500*time.Millisecond)
	return &File{o}, nil
}

// Watch blocks until ctx ends and returns its error. It calls tell, from its own
// goroutine, with all policies of the file: at once, then whenever they have
// changed.
//
// A file that can not be read or is refused is told as an error, once until it
// changes; what was told before stays true, also when the file is gone. To
// withdraw policies, write {}. When a refused file turns back to what it was,
// that is told again, so that the end of an error is known. The error of a
// refused file is a *[DocumentError]. tell must not block for long: nobody
// looks at the file meanwhile.
func (f *File) Watch(ctx context.Context, tell func(Documents, error)) error {
	var seen, told look
	timer := time.NewTimer(0)
	defer timer.Stop()
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		now, data, err := f.look()
		rested := now == seen || first
		seen = now
		if !rested {
			timer.Reset(f.opts.Every / 5)
			continue
		}
		if now != told {
			told = now
			tell(f.decode(data, err))
		}
		timer.Reset(f.opts.Every)
	}
}

// look is what a look at the file has found: two that found the same are equal.
type look struct {
	sum  [sha256.Size]byte
	size int // -1 if the file could not be read
	err  string
}

func (f *File) look() (found look, data []byte, err error) {
	data, err = f.read()
	if err != nil {
		return look{size: -1, err: err.Error()}, nil, err
	}
	return look{sum: sha256.Sum256(data), size: len(data)}, data, nil
}

func (f *File) read() ([]byte, error) {
	info, err := os.Stat(f.opts.Path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // opening a pipe would wait for its writer
		return nil, fmt.Errorf("%s is not a regular file", f.opts.Path)
	case info.Size() > maxBytes:
		return nil, fmt.Errorf("%s has %d bytes: at most %d are allowed", f.opts.Path, info.Size(), maxBytes)
	}
	file, err := os.Open(f.opts.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxBytes+1))
}

func (f *File) decode(data []byte, err error) (Documents, error) {
	if err != nil {
		return Documents{}, fmt.Errorf("read policy file: %w", err)
	}
	return DecodeDocuments(data, f.opts.Path)
}
