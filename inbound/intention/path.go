package intention

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// ErrPath is wrapped by errors about paths that can be read in more ways than
// one.
var ErrPath = errors.New("the path is ambiguous or malformed")

// Slashes says what becomes of slashes and backslashes that are escaped.
type Slashes uint8

// What may become of %2F and %5C.
const (
	// RefuseSlashes refuses the request, where rules look at paths: routers
	// that unescape and those that do not would see different paths.
	RefuseSlashes Slashes = iota
	// KeepSlashes leaves them as they are, as Consul's sidecars do by default. It
	// is safe if handlers look at the escaped path alone.
	KeepSlashes
	// UnescapeSlashes makes them slashes.
	UnescapeSlashes
)

// Paths say how a path is made normal before rules look at it, so that no
// spelling of a path escapes them: RFC 3986, sections 6.2.2 and 5.2.4, a backslash
// is a slash, and escapes are undone once.
//
// Sidecars undo only the escapes of unreserved characters. Go's handlers see all
// of them undone, as URL.Path, so rules do too.
type Paths struct {
	// EscapedSlashes is about %2F and %5C. Default: RefuseSlashes.
	EscapedSlashes Slashes
	// MergeSlashes makes one slash of several. Default: false, as in sidecars.
	MergeSlashes bool
}

// Normal returns the path as rules see it, of one as it goes over the wire,
// without its query. Handlers must be given the result. Errors wrap [ErrPath].
func (p Paths) Normal(escaped string) (string, error) {
	if p.isNormal(escaped) {
		return escaped, nil
	}
	if escaped == "" {
		return "/", nil
	}
	plain, err := p.unescape(escaped)
	if err != nil {
		return "", err
	}
	if plain[0] != '/' {
		return "", fmt.Errorf("%w: it does not begin with a slash", ErrPath)
	}
	return p.clean(plain), nil
}

// isNormal is true for nearly all paths that are normal, and for no other.
func (p Paths) isNormal(path string) bool {
	if path == "*" { // of OPTIONS
		return true
	}
	if path == "" || path[0] != '/' {
		return false
	}
	for i := range len(path) {
		switch c := path[i]; {
		case c == '%' || c == '\\' || isControl(c):
			return false
		case c == '/' && i+1 < len(path) && (path[i+1] == '.' || p.MergeSlashes && path[i+1] == '/'):
			return false
		}
	}
	return true
}

func (p Paths) unescape(path string) (string, error) {
	var b strings.Builder
	b.Grow(len(path))
	for i := 0; i < len(path); i++ {
		c, escaped := path[i], path[i] == '%'
		if escaped {
			if i+2 >= len(path) || hex(path[i+1]) < 0 || hex(path[i+2]) < 0 {
				return "", fmt.Errorf("%w: it has half an escape", ErrPath)
			}
			c = byte(hex(path[i+1])<<4 | hex(path[i+2]))
			i += 2
		}
		switch {
		case isControl(c):
			return "", fmt.Errorf("%w: it has a control character", ErrPath)
		case c != '/' && c != '\\':
			b.WriteByte(c)
		case !escaped || p.EscapedSlashes == UnescapeSlashes:
			b.WriteByte('/')
		case p.EscapedSlashes == KeepSlashes && c == '/':
			b.WriteString("%2F")
		case p.EscapedSlashes == KeepSlashes:
			b.WriteString("%5C")
		default:
			return "", fmt.Errorf("%w: it has an escaped slash", ErrPath)
		}
	}
	return b.String(), nil
}

// clean takes out the segments that mean this one and the one above, and empty
// ones if wanted. A path that ends with such a segment ends with a slash.
func (p Paths) clean(path string) string {
	out := make([]byte, 0, len(path))
	rest, more := path[1:], true
	for more {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		switch {
		case segment == "..":
			out = out[:max(bytes.LastIndexByte(out, '/'), 0)]
		case segment == "." || segment == "" && more && p.MergeSlashes:
		default:
			out = append(append(out, '/'), segment...)
			continue
		}
		if !more {
			out = append(out, '/')
		}
	}
	return string(out)
}

func isControl(c byte) bool { return c < 0x20 || c == 0x7f }

func hex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	default:
		return -1
	}
}
