package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// The readers below turn one JSON token into a value, or say what is wrong with
// it. Zero values are refused: merged, they would mean "not said", which is not
// what their author meant.

func readDuration(token json.Token) (d Duration, wrong string) {
	switch t := token.(type) {
	case string:
		d, err := ParseDuration(t)
		switch {
		case err != nil:
			return 0, err.Error()
		case d == 0:
			return 0, fmt.Sprintf(`%s says nothing: leave it out to inherit, or write "off" if that is meant`, quote(t))
		}
		return d, ""
	case json.Number:
		return 0, fmt.Sprintf("%s: %v", shorten(t.String()), errBareNumber)
	default:
		return 0, mismatch(token, `a duration such as "250ms"`)
	}
}

func readInt(token json.Token) (n int, wrong string) {
	number, ok := token.(json.Number)
	if !ok {
		return 0, mismatch(token, "a whole number"+offIsMinusOne(token))
	}
	i, err := strconv.ParseInt(number.String(), 10, 0)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, shorten(number.String()) + " is out of range"
	case err != nil:
		return 0, shorten(number.String()) + " is not a whole number: write digits only"
	case i == 0:
		return 0, shorten(number.String()) + saysNothing
	}
	return int(i), ""
}

func readFloat(token json.Token) (f float64, wrong string) {
	number, ok := token.(json.Number)
	if !ok {
		return 0, mismatch(token, "a number"+offIsMinusOne(token))
	}
	f, err := strconv.ParseFloat(number.String(), 64)
	switch {
	case err != nil:
		return 0, shorten(number.String()) + " is out of range"
	case f == 0:
		return 0, shorten(number.String()) + saysNothing
	}
	return f, ""
}

func readBool(token json.Token) (b bool, wrong string) {
	b, ok := token.(bool)
	if !ok {
		return false, mismatch(token, "true or false")
	}
	return b, ""
}

func readLimit(token json.Token) (l Limit, wrong string) {
	text := fmt.Sprint(token)
	if s, ok := token.(string); ok {
		text = strconv.Quote(s)
	} else if _, ok := token.(json.Number); !ok {
		return 0, mismatch(token, `a whole number above zero, "off" or "none"`)
	}
	if err := l.UnmarshalJSON([]byte(text)); err != nil {
		return 0, err.Error()
	}
	return l, ""
}

func readString(token json.Token) (s, wrong string) {
	s, ok := token.(string)
	switch {
	case !ok:
		return "", mismatch(token, "a string")
	case s == "":
		return "", `"" says nothing: leave it out`
	}
	return s, ""
}

const saysNothing = " says nothing: leave it out to inherit; where a field can be off, -1 says so"

// offIsMinusOne helps who wrote "off" for a number, as one does for durations.
func offIsMinusOne(token json.Token) string {
	if token == "off" {
		return ", -1 where a field can be off"
	}
	return ""
}

// mismatch says that a value is of the wrong kind.
func mismatch(token json.Token, want string) string {
	var is string
	switch t := token.(type) {
	case nil:
		return "null is not allowed: write " + want + ", or leave it out to inherit"
	case json.Delim:
		is = "an object"
		if t == '[' {
			is = "a list"
		}
	case json.Number:
		is = shorten(t.String())
	case string:
		is = quote(t)
	default:
		is = fmt.Sprint(t)
	}
	return fmt.Sprintf("is %s: must be %s", is, want)
}
