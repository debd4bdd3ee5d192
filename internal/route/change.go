package route

import (
	"net/http"
	"slices"
	"strings"

	"github.com/innermesh/innermesh/policy"
)

// Headers are changes of headers, ready for use.
type Headers struct {
	remove   []Name
	set, add []header
}

type header struct {
	Name
	value string
}

func newHeaders(h policy.Headers) Headers {
	var out Headers
	for _, name := range h.Remove {
		out.remove = append(out.remove, NewName(name))
	}
	out.set, out.add = sorted(h.Set), sorted(h.Add)
	return out
}

// sorted lists headers in an order that does not depend on luck.
func sorted(m map[string]string) []header {
	var out []header
	for name, value := range m {
		out = append(out, header{NewName(name), value})
	}
	slices.SortFunc(out, func(a, b header) int { return strings.Compare(a.Lower, b.Lower) })
	return out
}

// None says that nothing changes.
func (h *Headers) None() bool { return len(h.remove)+len(h.set)+len(h.add) == 0 }

// HTTP changes a header: first what is removed, then what is set, then what is
// added. Only the map is written to, never a list of values in it.
func (h *Headers) HTTP(to http.Header) { h.change(to, func(n Name) string { return n.Canonical }) }

// Metadata changes gRPC metadata in the same way.
func (h *Headers) Metadata(to map[string][]string) {
	h.change(to, func(n Name) string { return n.Lower })
}

func (h *Headers) change(to map[string][]string, spelled func(Name) string) {
	for _, name := range h.remove {
		delete(to, spelled(name))
	}
	for _, s := range h.set {
		to[spelled(s.Name)] = []string{s.value}
	}
	for _, a := range h.add {
		to[spelled(a.Name)] = append(slices.Clip(to[spelled(a.Name)]), a.value)
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
