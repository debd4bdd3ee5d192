package caller_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/innermesh/innermesh/inbound/caller"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		lines []string
		want  []caller.Element
	}{
		{nil, nil},
		{[]string{`By=spiffe://d/a;Hash=ab;URI=spiffe://d/b`}, []caller.Element{{By: []string{"spiffe://d/a"}, Hash: "ab", URI: []string{"spiffe://d/b"}}}},
		{[]string{`by=;Subject="CN=a,O=\"b\\;c\"" ; dns=x;DNS=y , uri=1`, `URI=2;URI=3;Cert="%0A";Chain="%0A"`}, []caller.Element{
			{By: []string{""}, Subject: `CN=a,O="b\;c"`, DNS: []string{"x", "y"}},
			{URI: []string{"1"}},
			{URI: []string{"2", "3"}, Cert: "%0A", Chain: "%0A"},
		}},
	} {
		got, err := caller.Parse(test.lines)
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", test.lines, err, diff)
		}
	}
	for _, bad := range []string{
		"", " ", ",", "URI", "URI=a;", "URI=a,", ",URI=a", "URI=a,,URI=b", `URI="a`, `URI="a"b`, `URI="a\`, `URI=a"b"`, "URI=a=b", "Name=a",
		"Hash=a;Hash=b", "Subject=a;subject=b", "URI=a\nBy=b",
		strings.Repeat("URI=a,", 16) + "URI=a", "URI=" + strings.Repeat("a", 64<<10),
	} {
		if e, err := caller.Parse([]string{bad}); !errors.Is(err, caller.ErrMalformed) {
			t.Errorf("%.40q is read as %+v", bad, e)
		}
	}
}

// What is read can be written so that it is read again as the same.
func FuzzParse(f *testing.F) {
	f.Add(`By=spiffe://d/a;Hash=ab;URI=spiffe://d/b`, `Subject="CN=\"a\\;b\"";URI=,URI=x`)
	f.Add(`URI="a,b";DNS=c`, `;`)
	f.Fuzz(func(t *testing.T, one, two string) {
		elements, err := caller.Parse([]string{one, two})
		if err != nil {
			if !errors.Is(err, caller.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		var lines []string
		for _, e := range elements {
			lines = append(lines, spell(e))
		}
		again, err := caller.Parse([]string{strings.Join(lines, ",")})
		if diff := cmp.Diff(elements, again); err != nil || diff != "" {
			t.Fatalf("%q: %v\n%s", lines, err, diff)
		}
	})
}

func spell(e caller.Element) string {
	var pairs []string
	add := func(name string, values ...string) {
		for _, v := range values {
			pairs = append(pairs, name+`="`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v)+`"`)
		}
	}
	add("By", e.By...)
	add("URI", e.URI...)
	add("DNS", e.DNS...)
	for name, v := range map[string]string{"Hash": e.Hash, "Subject": e.Subject, "Cert": e.Cert, "Chain": e.Chain} {
		if v != "" {
			add(name, v)
		}
	}
	if len(pairs) == 0 {
		add("Hash", "")
	}
	return strings.Join(pairs, ";")
}
