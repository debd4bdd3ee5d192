package route

import (
	"net/http"
	"strings"
	"time"
)

// Request is what a match may look at. Adapters implement it; nothing is called
// that no route asks for.
type Request interface {
	// Line returns the HTTP method and the path as it goes over the wire:
	// escaped, without the query. Of gRPC they are POST and the full method.
	Line() (method, path string)
	// HeaderValue returns a header, several values joined with commas.
	HeaderValue(name Name) (value string, ok bool)
	// QueryValue returns the first query parameter of a name, as it goes over
	// the wire.
	QueryValue(name string) (value string, ok bool)
}

// CookieMaker is a [Request] whose answer can set a cookie.
type CookieMaker interface {
	// MakeCookie has a cookie set and returns its value. It lasts for ttl, or
	// as long as the session if that is not positive.
	MakeCookie(name, path string, ttl time.Duration) (value string)
}

// Name is a header's name in the two spellings that matter, made once.
type Name struct {
	// Lower is how HTTP/2 and gRPC spell it, Canonical how net/http does.
	Lower, Canonical string
}

// NewName spells a name.
func NewName(s string) Name { return Name{strings.ToLower(s), http.CanonicalHeaderKey(s)} }

// QueryValue finds the first parameter of a name in a query as it goes over the
// wire. Like Envoy it decodes nothing.
func QueryValue(query, name string) (value string, ok bool) {
	for pair := range strings.SplitSeq(query, "&") {
		if key, v, _ := strings.Cut(pair, "="); key == name && pair != "" {
			return v, true
		}
	}
	return "", false
}
