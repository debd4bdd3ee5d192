package policy

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/innermesh/innermesh/discovery"
)

// What a service's routing may be at most.
const (
	maxRoutes  = 1000
	maxLegs    = 100
	maxTargets = 32 // of one failover list
	maxRegex   = 4096
)

func (s Service) checkRoutes(c *checker) {
	for _, name := range slices.Sorted(maps.Keys(s.Subsets)) {
		subset := s.Subsets[name]
		c.thatf(name != "", "subsets", "holds a subset without a name")
		c.in(member("subsets", name), func(c *checker) { c.filter("filter", subset.Filter) })
	}
	c.thatf(len(s.Routes) <= maxRoutes, "routes", "%d are too many: must be at most %d", len(s.Routes), maxRoutes)
	names := make(map[string]int)
	for i, r := range s.Routes {
		c.in(element("routes", i), func(c *checker) {
			if first, twice := names[r.Name]; twice && r.Name != "" {
				c.thatf(false, "name", "%s is the name of %s too: each needs its own", quote(r.Name), element("routes", first))
			}
			names[r.Name] = i
			r.check(c, s.Subsets)
		})
	}
}

func (r Route) check(c *checker, subsets map[string]Subset) {
	r.Match.check(c)
	c.thatf(r.Rewrite.Prefix == "" || strings.HasPrefix(r.Rewrite.Prefix, "/"), "rewrite.prefix",
		"%s is not a path: begin it with /", quote(r.Rewrite.Prefix))
	c.thatf(r.Rewrite.Prefix == "" || r.Match.Path != "" || r.Match.PathPrefix != "", "rewrite.prefix",
		"has nothing to take the place of: say match.path or match.pathPrefix")
	r.RequestHeaders.check(c, "requestHeaders")
	r.ResponseHeaders.check(c, "responseHeaders")
	r.Timeout.check(c)
	r.Retry.check(c)
	r.Hedge.check(c)
	checkInjections(c, r.Inject)
	c.hashes("stick", r.Stick)
	checkMirrors(c, r.Mirror, subsets, true)
	c.legs(r.To, subsets)
}

// legs checks the shares of a route. Nested splitters of Consul are flattened
// to shares that are off by a rounding each, hence the tolerance.
func (c *checker) legs(legs []Leg, subsets map[string]Subset) {
	c.thatf(len(legs) <= maxLegs, "to", "%d are too many: must be at most %d", len(legs), maxLegs)
	sum := 0
	for i, l := range legs {
		c.in(element("to", i), func(c *checker) {
			c.thatf(l.Weight <= 100 && !math.IsNaN(l.Weight) && !math.IsInf(l.Weight, 0), "weight",
				"%v is out of range: must be 0.01 to 100, or -1 for nothing", l.Weight)
			c.thatf(l.Weight != 0 || len(legs) == 1, "weight", "is missing: there are %d legs to share between", len(legs))
			l.check(c, subsets)
			l.RequestHeaders.check(c, "requestHeaders")
			l.ResponseHeaders.check(c, "responseHeaders")
		})
		sum += l.Hundredths()
	}
	off := max(sum-whole, whole-sum)
	c.thatf(len(legs) == 0 || off <= len(legs), "to", "weights add up to %v: must be 100", float64(sum)/100)
}

// whole is all of a route's calls, in hundredths of a percent.
const whole = 100_00

// Hundredths is the leg's share in hundredths of a percent. A leg that names
// none has all.
func (l Leg) Hundredths() int {
	switch {
	case l.Weight == 0:
		return whole
	case l.Weight < 0 || math.IsNaN(l.Weight):
		return 0
	default:
		return int(math.Round(min(l.Weight, 100) * 100))
	}
}

func (t Target) check(c *checker, subsets map[string]Subset) {
	t.checkSelf(c, subsets)
	c.thatf(len(t.Failover) <= maxTargets, "failover", "%d are too many: must be at most %d", len(t.Failover), maxTargets)
	for i, f := range t.Failover {
		c.in(element("failover", i), func(c *checker) {
			f.checkSelf(c, subsets)
			c.thatf(len(f.Failover) == 0, "failover", "is not looked at here: list the targets beside this one")
		})
	}
}

func (t Target) checkSelf(c *checker, subsets map[string]Subset) {
	if _, known := subsets[t.Subset]; t.Subset != "" && t.Filter == "" && !t.OnlyPassing {
		c.thatf(t.Service == "", "subset", "%s is a subset of another service: say its filter instead", quote(t.Subset))
		c.thatf(known || t.Service != "", "subset", "there is no subset %s: define it in subsets", quote(t.Subset))
	}
	c.filter("filter", t.Filter)
	c.thatf(t.Connect >= 0, "connect", "can not be off: give a duration above zero")
	t.Balancer.check(c)
}

// filter wants an expression in Consul's filter language.
func (c *checker) filter(path, expression string) {
	if expression == "" {
		return
	}
	if len(expression) > maxRegex {
		c.thatf(false, path, "has %d characters: at most %d are allowed", len(expression), maxRegex)
		return
	}
	_, err := discovery.NewFilter(expression)
	c.thatf(err == nil, path, "can not be read: %v", err)
}

func (m Match) check(c *checker) {
	c.in("match", func(c *checker) {
		c.one(map[string]bool{"path": m.Path != "", "pathPrefix": m.PathPrefix != "", "pathRegex": m.PathRegex != ""}, false)
		c.thatf(m.Path == "" || m.Path[0] == '/', "path", "%s is not a path: begin it with /", quote(m.Path))
		c.thatf(m.PathPrefix == "" || m.PathPrefix[0] == '/', "pathPrefix", "%s is not a path: begin it with /", quote(m.PathPrefix))
		c.regex("pathRegex", m.PathRegex)
		for i, method := range m.Methods {
			c.thatf(headerName(method) && method == strings.ToUpper(method), element("methods", i),
				"%s is not an HTTP method: write it in upper case", quote(method))
		}
		for i, h := range m.Headers {
			c.in(element("headers", i), h.check)
		}
		for i, q := range m.Query {
			c.in(element("query", i), q.check)
		}
	})
}

func (h HeaderMatch) check(c *checker) {
	c.thatf(headerName(h.Name) || strings.HasPrefix(h.Name, ":"), "name", "%s can not be the name of a header", quote(h.Name))
	c.one(map[string]bool{
		"exact": h.Exact != "", "prefix": h.Prefix != "", "suffix": h.Suffix != "",
		"contains": h.Contains != "", "regex": h.Regex != "", "present": h.Present,
	}, true)
	c.regex("regex", h.Regex)
}

func (q QueryMatch) check(c *checker) {
	c.thatf(q.Name != "", "name", "is missing")
	c.one(map[string]bool{"exact": q.Exact != "", "regex": q.Regex != "", "present": q.Present}, true)
	c.regex("regex", q.Regex)
}

func (h Headers) check(c *checker, path string) {
	c.in(path, func(c *checker) {
		for i, name := range h.Remove {
			c.thatf(changeable(name), element("remove", i),
				"%s can not be removed: it is no header, or one that belongs to the connection", quote(name))
		}
		checkValues(c, "set", h.Set)
		checkValues(c, "add", h.Add)
	})
}

func checkValues(c *checker, path string, headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		c.thatf(changeable(name), member(path, name),
			"%s can not be changed: it is no header, or one that belongs to the connection", quote(name))
		c.thatf(!strings.ContainsAny(headers[name], "\r\n\x00"), member(path, name), "holds a line break or a zero byte: headers can not")
	}
}

// changeable says whether a policy may touch a header of this name: not those
// that frame the message.
func changeable(name string) bool {
	switch strings.ToLower(name) {
	case "content-length", "transfer-encoding", "connection", "host", "te", "upgrade":
		return false
	default:
		return headerName(name)
	}
}

// headerName is the token of RFC 9110, section 5.6.2.
func headerName(s string) bool {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}
	return s != "" && !strings.ContainsFunc(s, odd)
}

// String names the target as people would.
func (t Target) String() string {
	var b strings.Builder
	b.WriteString(t.Service)
	for _, part := range []struct{ word, value string }{
		{"subset", t.Subset}, {"filter", t.Filter}, {"namespace", t.Namespace}, {"partition", t.Partition},
		{"datacenter", t.Datacenter}, {"peer", t.Peer},
	} {
		if part.value != "" && (part.word != "filter" || t.Subset == "") {
			fmt.Fprintf(&b, " %s %s", part.word, part.value)
		}
	}
	return strings.TrimSpace(b.String())
}
