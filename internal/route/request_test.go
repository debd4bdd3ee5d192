package route

import (
	"net/http"
	"net/url"
	"strings"
)

// request is an HTTP request as tests write it.
type request struct {
	method, path string
	header       http.Header
	query        url.Values
}

// get reads "GET /path?query" and headers, each "name: value".
func get(line string, headers ...string) *request {
	method, target, _ := strings.Cut(line, " ")
	path, query, _ := strings.Cut(target, "?")
	r := &request{method: method, path: path, header: http.Header{}}
	r.query, _ = url.ParseQuery(query) // what tests write is right
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.header.Add(name, value)
	}
	return r
}

func (r *request) Line() (method, path string) { return r.method, r.path }

func (r *request) HeaderValue(name string) (string, bool) {
	values := r.header[http.CanonicalHeaderKey(name)]
	if len(values) == 1 {
		return values[0], true
	}
	return strings.Join(values, ","), len(values) > 0
}

func (r *request) QueryValue(name string) (string, bool) {
	values := r.query[name]
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}
