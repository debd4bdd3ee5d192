package intention

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
)

// header is what a permission demands of one header, ready for use.
type header struct {
	Header
	canonical, lower string
	of               func(*Request) string // a header that is none
	regex            *regexp.Regexp
}

func newHeader(h Header) (header, error) {
	out := header{Header: h, canonical: http.CanonicalHeaderKey(h.Name), lower: strings.ToLower(h.Name)}
	if count(h.Present, h.Exact != "", h.Prefix != "", h.Suffix != "", h.Contains != "", h.Regex != "") != 1 {
		return out, errors.New("it must say one of Present, Exact, Prefix, Suffix, Contains and Regex")
	}
	switch out.lower {
	case "":
		return out, errors.New("it has no name")
	case ":method":
		out.of = func(r *Request) string { return r.Method }
	case "host", ":authority":
		out.of = func(r *Request) string { return r.Host }
	default:
		if out.lower[0] == ':' {
			return out, errors.New("this part of a request is not supported")
		}
	}
	var err error
	out.regex, err = entire(h.Regex)
	return out, err
}

func (h *header) fits(req *Request) bool {
	value, there := h.value(req)
	if h.Present {
		return there != h.Invert
	}
	return there && h.matches(value) != h.Invert
}

// value returns a header, several values joined with commas.
func (h *header) value(req *Request) (value string, there bool) {
	if h.of != nil {
		value = h.of(req)
		return value, value != ""
	}
	values := req.Header[h.canonical]
	if h.lower != h.canonical {
		if more := req.Header[h.lower]; len(values) == 0 {
			values = more
		} else if len(more) > 0 { // it can not come from net/http
			values = append(append([]string{}, values...), more...)
		}
	}
	if len(values) == 1 {
		return values[0], true
	}
	return strings.Join(values, ","), len(values) > 0
}

func (h *header) matches(v string) bool {
	switch {
	case h.regex != nil:
		return h.regex.MatchString(v)
	case h.Exact != "":
		return h.same(v, h.Exact)
	case h.Prefix != "":
		return len(v) >= len(h.Prefix) && h.same(v[:len(h.Prefix)], h.Prefix)
	case h.Suffix != "":
		return len(v) >= len(h.Suffix) && h.same(v[len(v)-len(h.Suffix):], h.Suffix)
	case !h.IgnoreCase:
		return strings.Contains(v, h.Contains)
	}
	for ; len(v) >= len(h.Contains); v = v[1:] {
		if h.same(v[:len(h.Contains)], h.Contains) {
			return true
		}
	}
	return false
}

// same compares, without regard to the case of ASCII letters if wanted.
func (h *header) same(a, b string) bool {
	if len(a) != len(b) || !h.IgnoreCase {
		return a == b
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
