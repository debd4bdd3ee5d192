package httpadapter

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/innermesh/innermesh/internal/route"
)

// facts are what routes may ask of a request. They are a [route.Request].
type facts struct {
	req *http.Request // the caller's, never changed
}

// Describe returns the service that a request names, empty if that is none, and
// what routes may ask of it.
func Describe(req *http.Request) (service string, r route.Request) {
	return serviceOf(req.URL), &facts{req}
}

// Line implements [route.Request].
func (f *facts) Line() (method, path string) {
	return cmp.Or(f.req.Method, http.MethodGet), cmp.Or(f.req.URL.EscapedPath(), "/")
}

// HeaderValue implements [route.Request]. To Envoy the parts of the first line
// are headers, too; there the path has its query.
func (f *facts) HeaderValue(name route.Name) (value string, ok bool) {
	switch name.Lower {
	case "host", ":authority":
		return cmp.Or(f.req.Host, f.req.URL.Host), true
	case ":method":
		method, _ := f.Line()
		return method, true
	case ":path":
		_, path := f.Line()
		if f.req.URL.RawQuery != "" {
			path += "?" + f.req.URL.RawQuery
		}
		return path, true
	}
	values := f.req.Header[name.Canonical]
	if len(values) == 1 {
		return values[0], true
	}
	return strings.Join(values, ","), len(values) > 0
}

// QueryValue implements [route.Request].
func (f *facts) QueryValue(name string) (value string, ok bool) {
	return route.QueryValue(f.req.URL.RawQuery, name)
}
