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
	fault := func(bad bool, field string, value any, rule string) {
		if bad {
			faults = append(faults, fmt.Errorf("%s is %v: %s", field, value, rule))
		}
	}
	fault(o.Path == "", "Path", `""`, "it is required")
	fault(o.MaxBytes != 0 && o.MaxBytes < minBytes, "MaxBytes", o.MaxBytes, fmt.Sprintf("must be %d at least", minBytes))
	fault(o.OpenTimeout < 0, "OpenTimeout", o.OpenTimeout, "must not be negative")
	return errors.Join(faults...)
}

func (o Options) withDefaults() Options {
	o.MaxBytes = cmp.Or(o.MaxBytes, 1<<30)
	o.OpenTimeout = cmp.Or(o.OpenTimeout, time.Second)
	return o
}
