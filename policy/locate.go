package policy

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"unicode/utf8"
)

// report collects the mistakes of a document.
type report struct {
	data   []byte
	faults []located
	full   bool // there are so many that further ones are not looked for
}

// located is a fault and the offset of the byte at which it was made.
type located struct {
	Fault
	offset int
}

// faultf notes a mistake, unless there are very many already: placing each costs
// a look at the whole document.
func (r *report) faultf(offset int, path, format string, args ...any) {
	switch {
	case r.full:
	case len(r.faults) >= maxFaults:
		r.full = true
		r.faults = append(r.faults, located{Fault{Message: "and more: correct these first"}, len(r.data)})
	default:
		r.faults = append(r.faults, located{Fault{Path: path, Message: fmt.Sprintf(format, args...)}, offset})
	}
}

// place returns the faults in the order of the document, with lines and columns.
func (r *report) place() []Fault {
	slices.SortStableFunc(r.faults, func(a, b located) int { return cmp.Compare(a.offset, b.offset) })
	faults := make([]Fault, len(r.faults))
	for i, f := range r.faults {
		before := r.data[:f.offset]
		faults[i] = f.Fault
		faults[i].Line = 1 + bytes.Count(before, []byte("\n"))
		faults[i].Column = 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	}
	return faults
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
