package policy

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Fault is one mistake in a policy.
type Fault struct { //nolint:errname // a part of a DocumentError first, an error by the way
	// Path is the field, as in "retry.methods[2]". Empty for the document as a
	// whole.
	Path string
	// Line and Column are where it stands in the document, from 1, columns in
	// characters. Zero when the policy did not come from a document.
	Line, Column int
	// Message says what is wrong and what is allowed.
	Message string
}

// Error returns position, path and message, what is known of them.
func (f Fault) Error() string {
	var b strings.Builder
	if f.Line > 0 {
		fmt.Fprintf(&b, "%d:%d ", f.Line, f.Column)
	}
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	b.WriteString(f.Message)
	return b.String()
}

// DocumentError is why a document was refused: it lists every mistake in it.
type DocumentError struct {
	// Source is where the document came from, as given to [Decode].
	Source string
	// Faults are the mistakes in the order of the document, at least one.
	Faults []Fault
}

// Error names the source and lists the faults, one a line if there are several.
func (e *DocumentError) Error() string {
	if len(e.Faults) == 1 {
		return fmt.Sprintf("decode policy %s: %v", e.Source, e.Faults[0])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "decode policy %s: %d mistakes", e.Source, len(e.Faults))
	for _, f := range e.Faults {
		b.WriteString("\n\t" + f.Error())
	}
	return b.String()
}

// Unwrap returns the faults.
func (e *DocumentError) Unwrap() []error {
	errs := make([]error, len(e.Faults))
	for i, f := range e.Faults {
		errs[i] = f
	}
	return errs
}

// quote makes text from a document fit for a message, however long or odd.
func quote(s string) string { return strconv.Quote(shorten(s)) }

func shorten(s string) string {
	const most = 60
	if r := []rune(s[:min(len(s), utf8.UTFMax*(most+1))]); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
