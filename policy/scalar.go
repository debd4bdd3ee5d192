package policy

import (
	"errors"
	"fmt"
	"strconv"
)

// The readers below turn one scalar into a value, or say what is wrong with it.
// Zero values are refused: merged, they would mean "not said", which is not
// what their author meant.

func readDuration(n node) (d Duration, wrong string) {
	switch n.kind {
	case text, vague: // "off" is a word that readers of YAML quarrel about
		d, err := ParseDuration(n.text)
		switch {
		case err != nil:
			return 0, err.Error()
		case d == 0:
			return 0, fmt.Sprintf(`%s says nothing: leave it out to inherit, or write "off" if that is meant`, quote(n.text))
		}
		return d, ""
	case number:
		return 0, fmt.Sprintf("%s: %v", shorten(n.text), errBareNumber)
	default:
		return 0, mismatch(n, `a duration such as "250ms"`)
	}
}

func readInt(n node) (value int, wrong string) {
	if n.kind != number {
		return 0, mismatch(n, "a whole number"+offIsMinusOne(n))
	}
	i, err := strconv.ParseInt(n.text, 10, 0)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, shorten(n.text) + " is out of range"
	case err != nil:
		return 0, shorten(n.text) + " is not a whole number: write digits only"
	case i == 0:
		return 0, shorten(n.text) + saysNothing
	}
	return int(i), ""
}

func readFloat(n node) (value float64, wrong string) {
	if n.kind != number {
		return 0, mismatch(n, "a number"+offIsMinusOne(n))
	}
	f, err := strconv.ParseFloat(n.text, 64)
	switch {
	case err != nil:
		return 0, shorten(n.text) + " is out of range"
	case f == 0:
		return 0, shorten(n.text) + saysNothing
	}
	return f, ""
}

func readBool(n node) (value bool, wrong string) {
	if n.kind != boolean {
		return false, mismatch(n, "true or false")
	}
	return n.text == "true", ""
}

func readLimit(n node) (l Limit, wrong string) {
	spelled := n.text
	switch n.kind {
	case text, vague: // "off", as above
		spelled = strconv.Quote(n.text)
	case number:
	default:
		return 0, mismatch(n, `a whole number above zero, "off" or "none"`)
	}
	if err := l.UnmarshalJSON([]byte(spelled)); err != nil {
		return 0, err.Error()
	}
	return l, ""
}

func readString(n node) (value, wrong string) {
	switch {
	case n.kind != text:
		return "", mismatch(n, "a string")
	case n.text == "":
		return "", `"" says nothing: leave it out`
	}
	return n.text, ""
}

const saysNothing = " says nothing: leave it out to inherit; where a field can be off, -1 says so"

const ambiguous = ", which means different things to readers of YAML"

// offIsMinusOne helps who wrote "off" for a number, as one does for durations.
func offIsMinusOne(n node) string {
	if n.text == "off" {
		return ", -1 where a field can be off"
	}
	return ""
}

// mismatch says that a value is of the wrong kind.
func mismatch(n node, want string) string {
	is := shorten(n.text)
	switch n.kind {
	case null:
		return "null is not allowed: write " + want + ", or leave it out to inherit"
	case list:
		is = "a list"
	case object:
		is = "an object"
	case text:
		is = quote(n.text)
	case vague:
		switch {
		case want == "a string":
			is, want = is+ambiguous, want+", in quotes"
		case n.text == "off": // clear enough where words are meant
			is = quote(n.text)
		default:
			is += ambiguous
		}
	default: // as it is spelled
	}
	return fmt.Sprintf("is %s: must be %s", is, want)
}
