package httpadapter

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/route"
)

func TestFacts(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://stock/a%2Fb?c=d", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"X-Tenant": {"a", "b"}, "X-User": {"7"}}
	service, f := Describe(req)
	if service != "stock" {
		t.Errorf("the service is %q", service)
	}
	for name, want := range map[string]string{
		"Host": "stock", ":authority": "stock", ":method": "PUT", ":path": "/a%2Fb?c=d", "x-tenant": "a,b", "x-user": "7",
	} {
		if got, ok := f.HeaderValue(route.NewName(name)); got != want || !ok {
			t.Errorf("%s is %q, %t: want %q", name, got, ok, want)
		}
	}
	if got, ok := f.HeaderValue(route.NewName("x-none")); ok {
		t.Errorf("x-none is %q: want none", got)
	}
	req.Host, req.URL.RawQuery, req.Method = "shop.example.com", "", ""
	for name, want := range map[string]string{":authority": "shop.example.com", ":method": "GET", ":path": "/a%2Fb"} {
		if got, _ := f.HeaderValue(route.NewName(name)); got != want {
			t.Errorf("%s is %q: want %q", name, got, want)
		}
	}
}

// With one of two cookies missing nobody would find the way back.
func TestEveryCookieIsKept(t *testing.T) {
	x := new(exchange)
	first, second := x.MakeCookie("a", "/p", time.Minute), x.MakeCookie("b", "", 0)
	want := []string{"a=" + first + "; Path=/p; Max-Age=60; HttpOnly", "b=" + second + "; HttpOnly"}
	var got []string
	for _, c := range x.cookies {
		got = append(got, c.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("made %q, want %q", got, want)
	}
}
