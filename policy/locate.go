package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// located is a fault and the offset of the byte at which it was made.
type located struct {
	Fault
	offset int
}

// faultf notes a mistake, unless there are very many already: placing each costs
// a look at the whole document.
func (d *decoder) faultf(offset int, path, format string, args ...any) {
	if len(d.faults) >= maxFaults {
		d.stopf(len(d.data), "", "and more: correct these first")
		return
	}
	d.faults = append(d.faults, located{Fault{Path: path, Message: fmt.Sprintf(format, args...)}, offset})
}

// stopf notes the last fault.
func (d *decoder) stopf(offset int, path, format string, args ...any) {
	if d.stopped {
		return
	}
	d.stopped = true
	d.faults = append(d.faults, located{Fault{Path: path, Message: fmt.Sprintf(format, args...)}, offset})
}

// place returns the faults in the order of the document, with lines and columns.
func (d *decoder) place() []Fault {
	slices.SortStableFunc(d.faults, func(a, b located) int { return cmp.Compare(a.offset, b.offset) })
	faults := make([]Fault, len(d.faults))
	for i, f := range d.faults {
		before := d.data[:f.offset]
		faults[i] = f.Fault
		faults[i].Line = 1 + bytes.Count(before, []byte("\n"))
		faults[i].Column = 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	}
	return faults
}

// syntax says where and why data is not one JSON value.
func syntax(data []byte) (offset int, err error) {
	err = json.Unmarshal(data, new(json.RawMessage))
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		// Offset counts the bytes read, the offending one included; at the
		// end of the input there is none.
		offset = min(int(s.Offset), len(data))
		if !strings.HasPrefix(s.Error(), "unexpected end") {
			offset = max(offset-1, 0)
		}
		return offset, fmt.Errorf("not JSON: %w", err)
	}
	return 0, err
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}
