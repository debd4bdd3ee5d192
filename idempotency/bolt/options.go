package bolt

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Options say where a [Store] keeps its file. Only Path is required.
type Options struct {
	// Path is the file's name. Its folder must exist; the file is made if it does
	// not, readable by its owner alone. Required.
	Path string
	// MaxBytes bounds the file. When it is full new operations get
	// [idempotency.ErrFull]; nothing is forgotten before its time. Default 1 GiB.
	MaxBytes int
	// NoSync does not wait until the disk has what was written: faster by far, and
	// what the last seconds brought may be lost, or the file spoiled, when the
	// machine loses power. A process that dies loses nothing either way.
	NoSync bool
	// OpenTimeout is how long to wait for another process that has the file open.
	// Default 1 s.
	OpenTimeout time.Duration
}

// minBytes is less than which bbolt can not work with.
const minBytes = 1 << 20

// Validate names every field that is out of range.
func (o Options) Validate() error {
	var faults []error
	if o.Path == "" {
		faults = append(faults, errors.New("Path is empty: it is required"))
	}
	if o.MaxBytes != 0 && o.MaxBytes < minBytes {
		faults = append(faults, fmt.Errorf("MaxBytes is %d: must be %d at least", o.MaxBytes, minBytes))
	}
	if o.OpenTimeout < 0 {
		faults = append(faults, fmt.Errorf("OpenTimeout is %v: must not be negative", o.OpenTimeout))
	}
	return errors.Join(faults...)
}

func (o Options) withDefaults() Options {
	o.MaxBytes = cmp.Or(o.MaxBytes, 1<<30)
	o.OpenTimeout = cmp.Or(o.OpenTimeout, time.Second)
	return o
}
