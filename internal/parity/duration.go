package parity

import (
	"fmt"
	"time"
)

// Duration is a [time.Duration] that is printed as people write it, in JSON too.
// Where a limit is meant, 0 is none.
type Duration time.Duration

// String returns the duration as "1.5s".
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText returns the duration as "1.5s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [time.ParseDuration] understands.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("read duration: %w", err)
	}
	*d = Duration(v)
	return nil
}
