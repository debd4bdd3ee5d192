package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Duration is a [time.Duration] that reads and writes itself as text with a
// unit, "250ms" or "1m30s". Zero says nothing. Every negative value means "no
// limit" or "not at all" where a field allows it, and is written "off".
type Duration time.Duration

// Off switches off what a duration bounds.
const Off Duration = -1

// ParseDuration reads "off" or what [time.ParseDuration] reads. Every negative
// duration comes back as [Off].
func ParseDuration(s string) (Duration, error) {
	if s == "off" {
		return Off, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf(`%s is not a duration: write a number with a unit, such as "250ms", "2s" or "1m30s", or "off"`, quote(s))
	}
	return max(Duration(d), Off), nil
}

// String returns "off" for a negative duration, else what [time.Duration]
// prints.
func (d Duration) String() string {
	if d < 0 {
		return "off"
	}
	return time.Duration(d).String()
}

// MarshalText writes what String returns.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [ParseDuration] reads.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// errBareNumber answers who forgot the unit: 5 could be seconds, milliseconds
// or, as Go has it, nanoseconds.
var errBareNumber = errors.New(`a duration needs its unit: write a string, such as "250ms" or "2s", or "off"`)

// UnmarshalJSON reads a JSON string as [ParseDuration] does and refuses
// everything else, bare numbers above all.
func (d *Duration) UnmarshalJSON(data []byte) error {
	if len(data) == 0 || data[0] != '"' {
		return fmt.Errorf("read duration %s: %w", quote(string(data)), errBareNumber)
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("read duration: %w", err)
	}
	return d.UnmarshalText([]byte(s))
}

func seconds(n int) Duration      { return Duration(n) * Duration(time.Second) }
func milliseconds(n int) Duration { return Duration(n) * Duration(time.Millisecond) }
