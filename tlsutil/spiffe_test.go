package tlsutil

import (
	"errors"
	"strings"
	"testing"
)

func TestParseID(t *testing.T) {
	long := strings.Repeat("a", 255)
	for _, s := range []string{
		"spiffe://dev.internal",
		"spiffe://dev.internal/x",
		"spiffe://a-b_c.1/ns/default/dc/dc1/svc/Web_2.v1-x",
		"spiffe://127.0.0.1/x",
		"spiffe://" + long + "/x",
		"spiffe://td/.../..a/a.",
		"spiffe://td/" + strings.Repeat("p", 2048-len("spiffe://td/")),
	} {
		id, err := ParseID(s)
		if err != nil {
			t.Errorf("ParseID(%q): %v", s, err)
			continue
		}
		if got := "spiffe://" + id.TrustDomain() + id.Path(); got != s || id.String() != s {
			t.Errorf("ParseID(%q) came back as %q and %q", s, id, got)
		}
	}
}

func TestParseIDRefuses(t *testing.T) {
	for name, s := range map[string]string{
		"empty":            "",
		"scheme alone":     "spiffe://",
		"no domain":        "spiffe:///x",
		"http":             "https://td/x",
		"no scheme":        "td/x",
		"upper scheme":     "SPIFFE://td/x",
		"one slash":        "spiffe:/td/x",
		"upper domain":     "spiffe://Td/x",
		"port":             "spiffe://td:80/x",
		"empty port":       "spiffe://td:/x",
		"user":             "spiffe://me@td/x",
		"query":            "spiffe://td/x?y=1",
		"empty query":      "spiffe://td/x?",
		"query on domain":  "spiffe://td?x",
		"fragment":         "spiffe://td/x#y",
		"empty fragment":   "spiffe://td/x#",
		"trailing slash":   "spiffe://td/x/",
		"root path":        "spiffe://td/",
		"empty segment":    "spiffe://td/a//b",
		"dot":              "spiffe://td/a/./b",
		"dot dot":          "spiffe://td/a/..",
		"escape":           "spiffe://td/%41",
		"escape in domain": "spiffe://t%64/x",
		"space":            "spiffe://td/a b",
		"not ASCII":        "spiffe://td/ä",
		"domain not ASCII": "spiffe://tä/x",
		"NUL":              "spiffe://td/a\x00",
		"brackets":         "spiffe://[::1]/x",
		"backslash":        `spiffe://td\x`,
		"at sign in path":  "spiffe://td/@",
		"long domain":      "spiffe://" + strings.Repeat("a", 256) + "/x",
		"long":             "spiffe://td/" + strings.Repeat("p", 2049-len("spiffe://td/")),
		// Neighbours of the letters once the case bit is set.
		"bracket": "spiffe://td/[", "caret": "spiffe://td/^", "backtick": "spiffe://td/`", "brace": "spiffe://td/{",
	} {
		id, err := ParseID(s)
		if !errors.Is(err, ErrBadID) || !id.IsZero() {
			t.Errorf("%s: ParseID(%q) = %q, %v; want ErrBadID", name, s, id, err)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Errorf("%s: the error is %d bytes long", name, len(err.Error()))
		}
	}
}

func TestNewID(t *testing.T) {
	id, err := NewID("td", "a", "b")
	if err != nil || id.String() != "spiffe://td/a/b" {
		t.Errorf("got %q, %v", id, err)
	}
	if id, err := NewID("td"); err != nil || id.Path() != "" {
		t.Errorf("a trust domain alone: got %q, %v", id, err)
	}
	for _, parts := range [][]string{{""}, {"td/x"}, {"td", ""}, {"td", "a/b"}, {"td", ".."}, {"td", "a?b"}} {
		if id, err := NewID(parts[0], parts[1:]...); !errors.Is(err, ErrBadID) {
			t.Errorf("NewID(%q) = %q, %v; want ErrBadID", parts, id, err)
		}
	}
	var zero ID
	if !zero.IsZero() || zero.String() != "" || zero.TrustDomain() != "" || zero.Path() != "" {
		t.Errorf("the zero ID says something: %q", zero)
	}
}

// Whatever is accepted has one spelling and survives every way back; service
// IDs do so as fields too.
func FuzzParseID(f *testing.F) {
	for _, s := range []string{
		"spiffe://dev.internal/ns/default/dc/dc1/svc/web",
		"spiffe://dev.internal/ap/team/ns/default/dc/dc1/svc/web",
		"spiffe://dev.internal/ap/default/ns/default/dc/dc1/svc/web",
		"spiffe://td/agent/client/dc/dc1/id/node", "spiffe://td", "SPIFFE://td/x", "spiffe://td:1/a?b#c", "spiffe://a@b//..",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			if !errors.Is(err, ErrBadID) || !id.IsZero() {
				t.Fatalf("ParseID(%q) = %q, %v", s, id, err)
			}
			return
		}
		if id.String() != s || strings.ContainsAny(s[len(scheme):], "%?#@:") || len(s) > maxID {
			t.Fatalf("ParseID(%q) let through %q", s, id)
		}
		var segments []string
		if p := id.Path(); p != "" {
			segments = strings.Split(p[1:], "/")
		}
		if again, err := NewID(id.TrustDomain(), segments...); err != nil || again != id {
			t.Fatalf("NewID gave %q for %q: %v", again, id, err)
		}
		service, err := id.Service()
		if err != nil {
			return
		}
		again, err := service.ID()
		if err != nil {
			t.Fatalf("%q has no ID: %v", service, err)
		}
		if again != id && !strings.HasPrefix(id.Path(), "/ap/default/") {
			t.Fatalf("%q came back as %q", id, again)
		}
		if twice, err := again.Service(); err != nil || twice != service {
			t.Fatalf("%q came back as %q: %v", service, twice, err)
		}
	})
}
