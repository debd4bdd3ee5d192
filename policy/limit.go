package policy

import (
	"fmt"
	"strconv"
	"strings"
)

// Limit is how many of something there may be at once. Zero says nothing.
type Limit int

// What a document says in words.
const (
	NoLimit Limit = -1 // "off": as many as there are
	None    Limit = -2 // "none": not a single one
)

// String returns the number, "off" or "none".
func (l Limit) String() string {
	switch l {
	case NoLimit:
		return "off"
	case None:
		return "none"
	default:
		return strconv.Itoa(int(l))
	}
}

// Bound returns the number, and whether there is one.
func (l Limit) Bound() (n int, bounded bool) {
	switch {
	case l == None:
		return 0, true
	case l > 0:
		return int(l), true
	default:
		return 0, false
	}
}

// MarshalJSON writes a number or one of the words.
func (l Limit) MarshalJSON() ([]byte, error) {
	if l < 0 {
		return strconv.AppendQuote(nil, l.String()), nil
	}
	return strconv.AppendInt(nil, int64(l), 10), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (l *Limit) UnmarshalJSON(data []byte) error {
	switch s := string(data); s {
	case `"off"`, "-1":
		*l = NoLimit
	case `"none"`:
		*l = None
	default:
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf(`%s is not a limit: write a whole number above zero, "off" or "none"`, quote(strings.Trim(s, `"`)))
		}
		*l = Limit(n)
	}
	return nil
}
