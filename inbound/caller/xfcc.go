package caller

import (
	"errors"
	"fmt"
	"strings"
)

// Header is where proxies write whom they have spoken to.
const Header = "X-Forwarded-Client-Cert"

// Bounds of the header: what is longer no honest proxy has written.
const (
	maxElements = 16
	maxHeader   = 64 << 10
)

// ErrMalformed is wrapped by errors about headers that can not be read.
var ErrMalformed = errors.New("the header x-forwarded-client-cert is malformed")

// Element is what one proxy says of the certificate that its caller has shown. Of
// names that may stand more than once there are several.
type Element struct {
	// By names the proxy's own certificate, URI and DNS those of its caller.
	By, URI, DNS []string
	// Hash is the SHA-256 of the caller's certificate, Subject its subject.
	Hash, Subject string
	// Cert and Chain are certificates in URL-encoded PEM.
	Cert, Chain string
}

// Parse reads the header, the element of the nearest proxy last. Source of the
// syntax: Envoy's documentation of x-forwarded-client-cert. It is read strictly:
// names that are not known, names twice that name one thing, quotes left open and
// empty elements are errors, which wrap [ErrMalformed] and hold nothing of it.
func Parse(lines []string) ([]Element, error) {
	var all []Element
	size := 0
	for _, line := range lines {
		if size += len(line); size > maxHeader {
			return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrMalformed, maxHeader)
		}
		for more := true; more; {
			if len(all) == maxElements {
				return nil, fmt.Errorf("%w: it has more than %d elements", ErrMalformed, maxElements)
			}
			var e Element
			var err error
			if line, more, err = e.parse(line); err != nil {
				return nil, fmt.Errorf("%w: element %d %w", ErrMalformed, len(all)+1, err)
			}
			all = append(all, e)
		}
	}
	return all, nil
}

// parse reads pairs up to the end of the element, and returns what follows.
func (e *Element) parse(text string) (rest string, more bool, err error) {
	for {
		name, after, ok := strings.Cut(strings.TrimLeft(text, " \t"), "=")
		if !ok {
			return "", false, errors.New("is no list of names and values")
		}
		var value string
		var end byte
		if value, text, end, err = next(after); err != nil {
			return "", false, err
		}
		if err := e.set(name, value); err != nil {
			return "", false, err
		}
		switch end {
		case ';':
		case ',':
			return text, true, nil
		default:
			return "", false, nil
		}
	}
}

func (e *Element) set(name, value string) error {
	switch strings.ToLower(name) {
	case "by":
		e.By = append(e.By, value)
	case "uri":
		e.URI = append(e.URI, value)
	case "dns":
		e.DNS = append(e.DNS, value)
	case "hash":
		return once(&e.Hash, value)
	case "subject":
		return once(&e.Subject, value)
	case "cert":
		return once(&e.Cert, value)
	case "chain":
		return once(&e.Chain, value)
	default:
		return errors.New("has a name that is not known")
	}
	return nil
}

func once(to *string, value string) error {
	if *to != "" {
		return errors.New("says one thing twice")
	}
	*to = value
	return nil
}

// next reads a value and returns what ended it: a semicolon, a comma, or 0 for
// the end.
func next(text string) (value, rest string, end byte, err error) {
	if !strings.HasPrefix(text, `"`) {
		i := strings.IndexAny(text, `;,"=`)
		if i < 0 {
			return strings.TrimRight(text, " \t"), "", 0, nil
		}
		if text[i] == '"' || text[i] == '=' {
			return "", "", 0, errors.New("has a value that needs quotes")
		}
		return strings.TrimRight(text[:i], " \t"), text[i+1:], text[i], nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; c {
		case '\\':
			if i++; i == len(text) {
				return "", "", 0, errors.New("ends within quotes")
			}
			b.WriteByte(text[i])
		case '"':
			rest := strings.TrimLeft(text[i+1:], " \t")
			if rest == "" {
				return b.String(), "", 0, nil
			}
			if rest[0] != ';' && rest[0] != ',' {
				return "", "", 0, errors.New("goes on behind quotes")
			}
			return b.String(), rest[1:], rest[0], nil
		default:
			b.WriteByte(c)
		}
	}
	return "", "", 0, errors.New("ends within quotes")
}
