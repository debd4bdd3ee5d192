package route

import (
	"regexp"
	"slices"
	"strings"

	"github.com/innermesh/innermesh/policy"
)

// match is policy.Match, ready for use. What fits is what Envoy would fit.
type match struct {
	path, prefix string
	regex        *regexp.Regexp
	fold         bool
	methods      []string
	headers      []headerMatch
	query        []queryMatch
}

func newMatch(m policy.Match) (match, error) {
	out := match{path: m.Path, prefix: m.PathPrefix, fold: m.IgnoreCase, methods: m.Methods}
	var err error
	if out.regex, err = entire(m.PathRegex); err != nil {
		return match{}, err
	}
	for _, h := range m.Headers {
		compiled := headerMatch{HeaderMatch: h, name: NewName(h.Name)}
		if compiled.regex, err = entire(h.Regex); err != nil {
			return match{}, err
		}
		out.headers = append(out.headers, compiled)
	}
	for _, q := range m.Query {
		compiled := queryMatch{QueryMatch: q}
		if compiled.regex, err = entire(q.Regex); err != nil {
			return match{}, err
		}
		out.query = append(out.query, compiled)
	}
	return out, nil
}

// entire compiles an expression that all of a value must fit, nil for none.
func entire(expression string) (*regexp.Regexp, error) {
	if expression == "" {
		return nil, nil //nolint:nilnil // nothing to compile is no fault
	}
	return regexp.Compile(`\A(?:` + expression + `)\z`)
}

// all says whether every request fits.
func (m *match) all() bool {
	return m.path == "" && (m.prefix == "" || m.prefix == "/") && m.regex == nil &&
		len(m.methods) == 0 && len(m.headers) == 0 && len(m.query) == 0
}

// fits looks at a request, whose line has been read once for all routes.
func (m *match) fits(r Request, method, path string) bool {
	switch {
	case m.path != "" && !m.equal(path, m.path):
		return false
	case m.prefix != "" && (len(path) < len(m.prefix) || !m.equal(path[:len(m.prefix)], m.prefix)):
		return false
	case m.regex != nil && !m.regex.MatchString(path):
		return false
	case len(m.methods) > 0 && !slices.Contains(m.methods, method):
		return false
	}
	for i := range m.headers {
		if !m.headers[i].fits(r) {
			return false
		}
	}
	for i := range m.query {
		if !m.query[i].fits(r) {
			return false
		}
	}
	return true
}

func (m *match) equal(a, b string) bool { return a == b || m.fold && foldASCII(a, b) }

// foldASCII compares without regard to the case of ASCII letters, which are all
// that an escaped path has.
func foldASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
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

type headerMatch struct {
	policy.HeaderMatch
	name  Name
	regex *regexp.Regexp
}

// fits looks at one header. One that is missing fits the inversion of its
// presence, and of nothing else.
func (h *headerMatch) fits(r Request) bool {
	value, there := r.HeaderValue(h.name)
	if h.Present {
		return there != h.Invert
	}
	return there && h.value(value) != h.Invert
}

func (h *headerMatch) value(v string) bool {
	want := h.Exact + h.Prefix + h.Suffix + h.Contains // only one is said
	if h.IgnoreCase && h.regex == nil {
		v, want = strings.ToLower(v), strings.ToLower(want)
	}
	switch {
	case h.regex != nil:
		return h.regex.MatchString(v)
	case h.Exact != "":
		return v == want
	case h.Prefix != "":
		return strings.HasPrefix(v, want)
	case h.Suffix != "":
		return strings.HasSuffix(v, want)
	default:
		return strings.Contains(v, want)
	}
}

type queryMatch struct {
	policy.QueryMatch
	regex *regexp.Regexp
}

func (q *queryMatch) fits(r Request) bool {
	value, there := r.QueryValue(q.Name)
	switch {
	case !there:
		return false
	case q.Present:
		return true
	case q.regex != nil:
		return q.regex.MatchString(value)
	default:
		return value == q.Exact
	}
}
