package parity

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Request is what routing looks at.
type Request struct {
	// Method is GET by default.
	Method string `json:",omitempty"`
	// Path may have a query. Default "/".
	Path string `json:",omitempty"`
	// Host is what the caller calls the service, without effect unless a route asks.
	Host   string      `json:",omitempty"`
	Header http.Header `json:",omitempty"`
	// Answer is the header of the response as the instance sends it.
	Answer http.Header `json:",omitempty"`
}

// String returns the method, the path and the headers on one line.
func (r Request) String() string {
	words := []string{r.method(), r.Host + r.path()}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		words = append(words, name+"="+strings.Join(r.Header[name], ","))
	}
	return strings.Join(words, " ")
}

func (r Request) method() string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

func (r Request) path() string {
	if r.Path == "" {
		return "/"
	}
	return r.Path
}

// values of a header. To Envoy the parts of the first line are headers as well.
func (r Request) values(name string) []string {
	switch name {
	case ":authority", "host":
		if r.Host == "" {
			return nil
		}
		return []string{r.Host}
	case ":method":
		return []string{r.method()}
	case ":path":
		return []string{r.path()}
	default:
		return r.Header.Values(name)
	}
}

// Decision is what happens to one request.
type Decision struct {
	// Route is the index of the first that matches; -1 if none does, and then the
	// answer is 404 and nothing else here is set.
	Route int
	// Path is what the instance sees, with the query.
	Path        string
	Timeout     Duration
	IdleTimeout Duration
	Retry       *Retry `json:",omitempty"`
	Hash        []Hash `json:",omitempty"`
	Legs        []Way
}

// Way is one leg of a decision.
type Way struct {
	// Target is a key of [Upstream.Clusters].
	Target string
	// Share is the probability of this leg, 0 to 1.
	Share float64
	// Header is that of the request as the instance sees it.
	Header http.Header
	// Answer is that of the response as the caller sees it.
	Answer http.Header
}

// Evaluate routes r as Envoy does: the first route that matches wins. It fails
// if an expression does not compile. The service must not be a tcp one.
func (u *Upstream) Evaluate(r Request) (Decision, error) {
	if r.Header == nil {
		r.Header = http.Header{}
	}
	for i, route := range u.Routes {
		ok, err := route.Match.matches(r)
		if err != nil {
			return Decision{}, fmt.Errorf("route %d: %w", i, err)
		}
		if !ok {
			continue
		}
		return Decision{
			Route: i, Path: route.rewritten(r.path()),
			Timeout: route.Timeout, IdleTimeout: route.IdleTimeout, Retry: route.Retry, Hash: route.Hash,
			Legs: route.ways(r),
		}, nil
	}
	return Decision{Route: -1}, nil
}

func (r Route) ways(q Request) []Way {
	var sum float64
	for _, leg := range r.Legs {
		sum += float64(leg.Weight)
	}
	ways := make([]Way, 0, len(r.Legs))
	for _, leg := range r.Legs {
		ways = append(ways, Way{
			Target: leg.Target,
			Share:  float64(leg.Weight) / sum,
			Header: r.Request.Apply(leg.Request.Apply(q.Header)),
			Answer: r.Response.Apply(leg.Response.Apply(q.Answer)),
		})
	}
	return ways
}

func (m Match) matches(r Request) (bool, error) {
	path, query, _ := strings.Cut(r.path(), "?")
	if ok, err := m.Path.matches(path); !ok || err != nil {
		return false, err
	}
	if len(m.Methods) > 0 && !slices.Contains(m.Methods, r.method()) {
		return false, nil
	}
	for _, h := range m.Headers {
		values := r.values(h.Name)
		ok, err := h.matches(strings.Join(values, ","), len(values) > 0)
		if !ok || err != nil {
			return false, err
		}
	}
	for _, q := range m.Query {
		value, there := parameter(query, q.Name)
		if ok, err := q.matches(value, there); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (m PathMatch) matches(path string) (bool, error) {
	value := m.Value
	if m.IgnoreCase && m.Kind != Regex {
		path, value = strings.ToLower(path), strings.ToLower(value)
	}
	switch m.Kind {
	case Exact:
		return path == value, nil
	case Prefix:
		return strings.HasPrefix(path, value), nil
	default:
		return whole(value, path)
	}
}

func (m ValueMatch) matches(value string, there bool) (bool, error) {
	if m.Kind == Present {
		return there != m.Invert, nil
	}
	if !there {
		return false, nil
	}
	want := m.Value
	if m.IgnoreCase && m.Kind != Regex {
		value, want = strings.ToLower(value), strings.ToLower(want)
	}
	var ok bool
	var err error
	switch m.Kind {
	case Exact:
		ok = value == want
	case Prefix:
		ok = strings.HasPrefix(value, want)
	case Suffix:
		ok = strings.HasSuffix(value, want)
	case Contains:
		ok = strings.Contains(value, want)
	default:
		ok, err = whole(want, value)
	}
	return ok != m.Invert, err
}

// rewritten returns the path with its query as the instance sees it.
func (r Route) rewritten(full string) string {
	if r.Rewrite == "" {
		return full
	}
	path, query, asked := strings.Cut(full, "?")
	var rest string
	if r.Match.Path.Kind == Prefix {
		rest = path[len(r.Match.Path.Value):]
	}
	if r.Rewrite == "/" {
		rest = strings.TrimPrefix(rest, "/")
	}
	path = r.Rewrite + rest
	if asked {
		path += "?" + query
	}
	return path
}

// parameter returns the first value of that name, as it is written: Envoy does
// not decode it.
func parameter(query, name string) (value string, there bool) {
	for pair := range strings.SplitSeq(query, "&") {
		if key, value, _ := strings.Cut(pair, "="); key == name && pair != "" {
			return value, true
		}
	}
	return "", false
}

// whole says whether the RE2 expression matches all of s.
func whole(expression, s string) (bool, error) {
	re, err := regexp.Compile("^(?:" + expression + ")$")
	if err != nil {
		return false, fmt.Errorf("expression %q: %w", expression, err)
	}
	return re.MatchString(s), nil
}
