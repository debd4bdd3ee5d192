// Package file writes audit records into a file, as JSON, one on a line, and
// begins a new file when one is large enough.
package file

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/DeRuina/timberjack"
)

// Options say where records go. Path is required.
type Options struct {
	// Path is the file that is written. Full ones lie beside it, with a time in
	// their names. The folder is made if it is not there.
	Path string
	// MaxSize is how large a file may get, in megabytes. Default: 100.
	MaxSize int
	// MaxFiles is how many full files are kept, and MaxDays for how long, in days.
	// Default: all, for ever.
	MaxFiles, MaxDays int
	// Compress packs full files with gzip.
	Compress bool
}

// Validate reports all faults with the names of their fields.
func (o Options) Validate() error {
	var faults []error
	if o.Path == "" || filepath.Base(o.Path) != filepath.Base(filepath.Clean(o.Path)) {
		faults = append(faults, fmt.Errorf("%s: must name a file", "Path"))
	}
	for _, f := range []struct {
		field string
		value int
	}{{"MaxSize", o.MaxSize}, {"MaxFiles", o.MaxFiles}, {"MaxDays", o.MaxDays}} {
		if f.value < 0 {
			faults = append(faults, fmt.Errorf("%s: %d is negative", f.field, f.value))
		}
	}
	return errors.Join(faults...)
}

// File is a [slog.Handler] for audit.Options. Only one process may write to a
// file. Close it after the log.
type File struct {
	slog.Handler
	out *timberjack.Logger
}

// New returns a file, which is opened with the first record, readable to its
// owner alone.
func New(o Options) (*File, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("audit file: %w", err)
	}
	compression := "none"
	if o.Compress {
		compression = "gzip"
	}
	out := &timberjack.Logger{
		Filename: o.Path, MaxSize: o.MaxSize, MaxBackups: o.MaxFiles, MaxAge: o.MaxDays, Compression: compression, FileMode: 0o600,
	}
	return &File{slog.NewJSONHandler(out, nil), out}, nil
}

// Close closes the file and ends its goroutines.
func (f *File) Close() error { return f.out.Close() }
