package bolt

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Options say where a [Log] keeps its file. Only Path is required.
type Options struct {
	// Path is the file's name. Its folder must exist; the file is made if it does
	// not, readable by its owner alone. Required.
	Path string
	// OpenTimeout is how long to wait for another process that has the file open.
	// Default 1 s.
	OpenTimeout time.Duration
	// SetAside opens a file that has corrupt records, which are kept in the file
	// where nobody looks, see [Log.Aside]. Default: such a file is not opened.
	SetAside bool
	// NoSync does not wait until the disk has what was written: faster by far, for
	// tests. A machine that loses power then loses sagas.
	NoSync bool
}

// Validate names every field that is out of range.
func (o Options) Validate() error {
	var faults []error
	if o.Path == "" {
		faults = append(faults, fmt.Errorf("%s is empty: it is required", "Path"))
	}
	if o.OpenTimeout < 0 {
		faults = append(faults, fmt.Errorf("OpenTimeout is %v: must not be negative", o.OpenTimeout))
	}
	return errors.Join(faults...)
}

func (o Options) withDefaults() Options {
	o.OpenTimeout = cmp.Or(o.OpenTimeout, time.Second)
	return o
}
