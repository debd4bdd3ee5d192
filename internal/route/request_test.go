package route

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// request is an HTTP request as tests write it.
type request struct {
	method, path string
	header       http.Header
	query        string
	made         []string // cookies
}

// get reads "GET /path?query" and headers, each "name: value".
func get(line string, headers ...string) *request {
	method, target, _ := strings.Cut(line, " ")
	path, query, _ := strings.Cut(target, "?")
	r := &request{method: method, path: path, query: query, header: http.Header{}}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.header.Add(name, value)
	}
	return r
}

func (r *request) Line() (method, path string) { return r.method, r.path }

func (r *request) HeaderValue(name Name) (string, bool) {
	values := r.header[name.Canonical]
	if len(values) == 1 {
		return values[0], true
	}
	return strings.Join(values, ","), len(values) > 0
}

func (r *request) QueryValue(name string) (string, bool) { return QueryValue(r.query, name) }

func (r *request) MakeCookie(name, path string, ttl time.Duration) string {
	r.made = append(r.made, fmt.Sprintf("%s %s %v", name, path, ttl))
	return "made"
}
