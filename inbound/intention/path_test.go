package intention_test

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/innermesh/innermesh/inbound/intention"
)

func TestNormal(t *testing.T) {
	keep, unescape := intention.Paths{EscapedSlashes: intention.KeepSlashes}, intention.Paths{EscapedSlashes: intention.UnescapeSlashes}
	merge := intention.Paths{MergeSlashes: true}
	for _, test := range []struct {
		paths    intention.Paths
		in, want string // "" is refused
	}{
		{intention.Paths{}, "/", "/"},
		{intention.Paths{}, "", "/"},
		{intention.Paths{}, "*", "*"},
		{intention.Paths{}, "/a/b", "/a/b"},
		{intention.Paths{}, "/a/b/", "/a/b/"},
		{intention.Paths{}, "/%61%64min", "/admin"},
		{intention.Paths{}, "/a%20b%3Fc%23", "/a b?c#"},
		{intention.Paths{}, "/caf%C3%A9", "/café"},
		{intention.Paths{}, "/a/./b/.", "/a/b/"},
		{intention.Paths{}, "/a/../b", "/b"},
		{intention.Paths{}, "/a/b/..", "/a/"},
		{intention.Paths{}, "/../../a", "/a"},
		{intention.Paths{}, "/a/%2e%2E/b", "/b"},
		{intention.Paths{}, "/a/.%2e/b", "/b"},
		{intention.Paths{}, `/a\..\b`, "/b"},
		{intention.Paths{}, `\a`, "/a"},
		{intention.Paths{}, "/a//b", "/a//b"},
		{intention.Paths{}, "/a//../b", "/a/b"},
		{intention.Paths{}, "//a", "//a"},
		{intention.Paths{}, "/...", "/..."},
		{intention.Paths{}, "/.well-known/x", "/.well-known/x"},
		{intention.Paths{}, "/%252e%252e/a", "/%2e%2e/a"},
		{intention.Paths{}, "/a%2fb", ""},
		{intention.Paths{}, "/a%5Cb", ""},
		{intention.Paths{}, "/a%", ""},
		{intention.Paths{}, "/a%4", ""},
		{intention.Paths{}, "/a%4g", ""},
		{intention.Paths{}, "/a%00", ""},
		{intention.Paths{}, "/a%0a", ""},
		{intention.Paths{}, "/a\x7f", ""},
		{intention.Paths{}, "a/b", ""},
		{intention.Paths{}, "%2Fa", ""},
		{intention.Paths{}, "**", ""},
		{keep, "/a%2f..%5cb", "/a%2F..%5Cb"},
		{keep, "/a/..%2fadmin", "/a/..%2Fadmin"},
		{unescape, "/a%2f..%5Cb", "/b"},
		{unescape, "%2fa", "/a"},
		{merge, "//a///b//", "/a/b/"},
		{merge, "/a//../b", "/b"},
		{merge, "//", "/"},
	} {
		got, err := test.paths.Normal(test.in)
		if got != test.want || (err == nil) != (test.want != "") || err != nil && !errors.Is(err, intention.ErrPath) {
			t.Errorf("%+v %q: got %q, %v, want %q", test.paths, test.in, got, err, test.want)
		}
	}
}

// A pair of spellings of one path: whatever net/http makes of both to be the same
// for a handler behind a ServeMux, rules decide alike on both.
func FuzzPathPairs(f *testing.F) {
	for _, seed := range []string{
		"/admin/x", "/a/../admin", "/%61dmin", "//admin//x/", `/a\admin`, "/a%2Fadmin", "/a/%2e%2e/admin", "/a/..;/admin", "/%25%36%31", "/.",
	} {
		f.Add(seed, uint64(0x5555))
		f.Add(seed, ^uint64(0))
	}
	rules := compile(f, intention.Options{Paths: intention.Paths{EscapedSlashes: intention.UnescapeSlashes, MergeSlashes: true}, Default: intention.Allow},
		l7("batch", permit("deny", intention.HTTP{PathPrefix: "/admin"}), permit("deny", intention.HTTP{PathExact: "/x"}),
			permit("deny", intention.HTTP{PathRegex: "/r/.*"})))
	f.Fuzz(func(t *testing.T, one string, escape uint64) {
		plain, err := url.PathUnescape(one)
		if err != nil || !strings.HasPrefix(strings.ReplaceAll(plain, `\`, "/"), "/") || strings.ContainsFunc(plain, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			if d := rules.Decide(caller("batch"), get(one)); one != "" && one != "*" && d.Allowed {
				t.Fatalf("%q: %v", one, d)
			}
			return
		}
		other := respell(plain, escape)
		a, b := rules.Decide(caller("batch"), get(one)), rules.Decide(caller("batch"), get(other))
		if a != b {
			t.Fatalf("%q: %v, but %q: %v", one, a, other, b)
		}
		seen := cleaned(plain)
		if a.Path != seen {
			t.Fatalf("%q: rules see %q, handlers %q", one, a.Path, seen)
		}
		denied := strings.HasPrefix(seen, "/admin") || seen == "/x" || strings.HasPrefix(seen, "/r/")
		if a.Allowed == denied {
			t.Fatalf("%q, which is %q: %v", one, seen, a)
		}
	})
}

// respell escapes the bytes whose turn it is, and those that must be.
func respell(plain string, escape uint64) string {
	var b strings.Builder
	for i := range len(plain) {
		c := plain[i]
		if escape>>(i%64)&1 == 1 || c == '%' {
			b.WriteString("%" + strings.ToUpper(string("0123456789abcdef"[c>>4])) + string("0123456789abcdef"[c&15]))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// cleaned is what a ServeMux makes of a path.
func cleaned(p string) string {
	p = strings.ReplaceAll(p, `\`, "/")
	out := path.Clean(p)
	if last := p[strings.LastIndex(p, "/")+1:]; out != "/" && (last == "" || last == "." || last == "..") {
		out += "/"
	}
	return out
}

// Whatever the options, rules see no spelling that would be another one's, and
// nothing that has to be made normal once more.
func FuzzNormal(f *testing.F) {
	f.Add("/a/../%61", uint8(0))
	f.Add("/a%2f..//b", uint8(1))
	f.Add(`\a%5c..`, uint8(6))
	f.Fuzz(func(t *testing.T, in string, how uint8) {
		p := intention.Paths{EscapedSlashes: intention.Slashes(how % 3), MergeSlashes: how&4 != 0}
		out, err := p.Normal(in)
		if err != nil {
			if !errors.Is(err, intention.ErrPath) || out != "" {
				t.Fatalf("%q: %q, %v", in, out, err)
			}
			return
		}
		if out == "*" {
			return
		}
		if out[0] != '/' || strings.Contains(out, `\`) || p.MergeSlashes && strings.Contains(out, "//") {
			t.Fatalf("%q: %q", in, out)
		}
		for segment := range strings.SplitSeq(out, "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("%q: %q", in, out)
			}
		}
		if again, err := p.Normal((&url.URL{Path: out}).EscapedPath()); p.EscapedSlashes != intention.KeepSlashes && (err != nil || again != out) {
			t.Fatalf("%q: %q, then %q, %v", in, out, again, err)
		}
	})
}

// A line break must not end a rule.
func TestExpressionsAreForAllOfIt(t *testing.T) {
	r := compile(t, intention.Options{Default: intention.Allow}, l7("batch",
		permit("deny", intention.HTTP{PathRegex: "/a/.*"}), permit("deny", intention.HTTP{PathRegex: "/b|/c"})))
	for in, allowed := range map[string]bool{"/a/x": false, "/a/x\ny": false, "/b": false, "/c": false, "/bx": true, "/x/c": true} {
		req := &intention.Request{Method: http.MethodGet, Path: in, Literal: true}
		if d := r.Decide(caller("batch"), req); d.Allowed != allowed {
			t.Errorf("%q: %v", in, d)
		}
	}
}
