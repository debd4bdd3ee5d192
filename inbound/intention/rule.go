package intention

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// rule is an intention, ready for use.
type rule struct {
	*Intention
	rank        int
	action      Action
	permissions []permission
	paths       bool  // some permission looks at the path
	broken      error // why it refuses everything
}

type permission struct {
	action        Action
	jwt           *JWT // needs such a token
	exact, prefix string
	regex         *regexp.Regexp
	methods       []string
	headers       []header
}

func newRule(i *Intention, o Options) *rule {
	r := &rule{Intention: i, rank: i.precedence(), broken: i.odd}
	var err error
	switch {
	case r.broken != nil:
	case i.JWT.check() != nil:
		r.broken = i.JWT.check()
	case len(i.Permissions) == 0:
		r.action, r.broken = action(i.Action)
	case i.Action != "":
		r.broken = errors.New("it has an action and permissions")
	}
	for n, p := range i.Permissions {
		if r.broken != nil {
			break
		}
		var compiled permission
		if compiled, err = newPermission(p, o.Paths); err != nil {
			r.broken = fmt.Errorf("permission %d: %w", n+1, err)
		}
		r.paths = r.paths || compiled.looksAtPath()
		r.permissions = append(r.permissions, compiled)
	}
	return r
}

// refused says what of the intention refuses all it is for.
func (r *rule) refused() error {
	if r.broken == nil {
		return nil
	}
	return fmt.Errorf("intention %s: %w", r.Intention, r.broken)
}

func newPermission(p Permission, paths Paths) (out permission, err error) {
	if out.action, err = action(p.Action); err != nil {
		return out, err
	}
	if out.jwt = p.JWT; out.jwt.check() != nil {
		return out, out.jwt.check()
	}
	h := p.HTTP
	if h == nil {
		return out, errors.New("it says nothing of requests")
	}
	if count(h.PathExact != "", h.PathPrefix != "", h.PathRegex != "") > 1 {
		return out, errors.New("it has more than one path")
	}
	out.exact, out.prefix, out.methods = ruled(h.PathExact, paths), ruled(h.PathPrefix, paths), h.Methods
	if out.regex, err = entire(h.PathRegex); err != nil {
		return out, err
	}
	for _, one := range h.Header {
		compiled, err := newHeader(one)
		if err != nil {
			return out, fmt.Errorf("header %q: %w", one.Name, err)
		}
		out.headers = append(out.headers, compiled)
	}
	return out, nil
}

// ruled is the path of a rule, which may have been written with escapes.
func ruled(path string, paths Paths) string {
	if plain, err := paths.unescape(path); err == nil && strings.Contains(path, "%") {
		return plain
	}
	return path
}

func (p *permission) looksAtPath() bool { return p.exact != "" || p.prefix != "" || p.regex != nil }

// fits looks at a request, whose path is normal.
func (p *permission) fits(req *Request, path string) bool {
	switch {
	case p.exact != "" && path != p.exact,
		p.prefix != "" && !strings.HasPrefix(path, p.prefix),
		p.regex != nil && !p.regex.MatchString(path),
		len(p.methods) > 0 && !slices.Contains(p.methods, req.Method):
		return false
	}
	for n := range p.headers {
		if !p.headers[n].fits(req) {
			return false
		}
	}
	return true
}

// entire compiles an expression that all of a value must fit, nil for none. A dot
// is any character: there is no line that could end a rule.
func entire(expression string) (*regexp.Regexp, error) {
	if expression == "" {
		return nil, nil //nolint:nilnil // nothing to compile is no fault
	}
	if _, err := regexp.Compile(expression); err != nil { // it might close our bracket
		return nil, err
	}
	return regexp.Compile(`\A(?s:` + expression + `)\z`)
}

func action(word string) (Action, error) {
	switch word {
	case "allow":
		return Allow, nil
	case "deny":
		return Deny, nil
	default:
		return Deny, fmt.Errorf("the action %q is not known", word)
	}
}

func count(said ...bool) (n int) {
	for _, s := range said {
		if s {
			n++
		}
	}
	return n
}
