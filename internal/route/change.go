package route

import (
	"net/http"
	"slices"
	"strings"

	"github.com/innermesh/innermesh/policy"
)

// Headers are changes of headers, ready for use.
type Headers struct {
	remove   []string
	set, add []header
}

type header struct{ name, value string }

func newHeaders(h policy.Headers) Headers {
	var out Headers
	for _, name := range h.Remove {
		out.remove = append(out.remove, strings.ToLower(name))
	}
	out.set, out.add = sorted(h.Set), sorted(h.Add)
	return out
}

// sorted lists headers in an order that does not depend on luck.
func sorted(m map[string]string) []header {
	var out []header
	for name, value := range m {
		out = append(out, header{strings.ToLower(name), value})
	}
	slices.SortFunc(out, func(a, b header) int { return strings.Compare(a.name, b.name) })
	return out
}

// None says that nothing changes.
func (h *Headers) None() bool { return len(h.remove)+len(h.set)+len(h.add) == 0 }

// Names calls f with the name of each header that changes, in lower case.
func (h *Headers) Names(f func(name string)) {
	for _, name := range h.remove {
		f(name)
	}
	for _, s := range h.set {
		f(s.name)
	}
	for _, a := range h.add {
		f(a.name)
	}
}

// HTTP changes a response or request header: first what is removed, then what
// is set, then what is added.
func (h *Headers) HTTP(to http.Header) {
	for _, name := range h.remove {
		to.Del(name)
	}
	for _, s := range h.set {
		to.Set(s.name, s.value)
	}
	for _, a := range h.add {
		to.Add(a.name, a.value)
	}
}

// Metadata changes gRPC metadata, whose keys are in lower case.
func (h *Headers) Metadata(to map[string][]string) {
	for _, name := range h.remove {
		delete(to, name)
	}
	for _, s := range h.set {
		to[s.name] = []string{s.value}
	}
	for _, a := range h.add {
		to[a.name] = append(slices.Clip(to[a.name]), a.value)
	}
}

// rewrite replaces the matched part of a path.
type rewrite struct {
	with   string // nothing changes if empty
	prefix int    // how much of the path is replaced; -1 is all of it
}

func newRewrite(r policy.Route) rewrite {
	if r.Match.Path != "" {
		return rewrite{r.Rewrite.Prefix, -1}
	}
	return rewrite{r.Rewrite.Prefix, len(r.Match.PathPrefix)}
}

// Rewrites says whether paths change on this route.
func (r *Route) Rewrites() bool { return r.rewrite.with != "" }

// Path returns the path that goes over the wire for one that matched the route.
func (r *Route) Path(path string) string {
	w := r.rewrite
	switch {
	case w.with == "":
		return path
	case w.prefix < 0:
		return w.with
	case len(path) < w.prefix:
		return path // it can not have matched
	}
	rest := path[w.prefix:]
	if w.with == "/" { // cuts the prefix off, and must not leave "//"
		rest = strings.TrimPrefix(rest, "/")
	}
	return w.with + rest
}
