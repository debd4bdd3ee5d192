package admin

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// some is a page over a process that calls one service.
func some(t *testing.T, change func(*Options)) *Page {
	t.Helper()
	o := Options{
		Process:   func() Process { return Process{Service: "checkout"} },
		Totals:    func() []Totals { return []Totals{{Service: "orders"}} },
		Summaries: func() []Summary { return []Summary{{Service: "orders", Census: Census{All: 2, Called: 2, Open: 2}}} },
		Upstream: func(service string) (Upstream, bool) {
			return Upstream{Summary: Summary{Service: service}, Targets: []Target{{Name: service, Instances: []Instance{
				{ID: "orders-1", State: "serving", Tone: OK}, {ID: "orders-2", State: "ejected", Tone: Bad, Out: true},
			}}}}, service == "orders"
		},
	}
	if change != nil {
		change(&o)
	}
	p := New(o)
	t.Cleanup(p.Close)
	return p
}

func ask(p http.Handler, method, target string, header map[string]string, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

// Every answer says that nobody may frame it, guess its type, keep it, or be told
// where its reader comes from; what it may load is its own.
func TestHeaders(t *testing.T) {
	p := some(t, nil)
	for _, path := range []string{"/", "/upstream?service=orders", "/upstream?service=nobody", "/api/overview", "/assets/page.js", "/nothing", "/live?view=none"} {
		h := ask(p, http.MethodGet, path, nil, "").Header()
		for name, want := range map[string]string{
			"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if c := h.Get("Cache-Control"); c != "no-store" && !strings.HasPrefix(path, "/assets/") {
			t.Errorf("%s: Cache-Control is %q", path, c)
		}
		csp := h.Get("Content-Security-Policy")
		if !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy is %q", path, csp)
		}
	}
}

// What the policy of content forbids is not in the pages either.
func TestNothingInline(t *testing.T) {
	p := some(t, nil)
	for _, v := range views {
		page := ask(p, http.MethodGet, "/"+v.path+"?service=orders", nil, "").Body.String()
		for _, bad := range []string{" style=", "<style", "<script>", " onclick", "javascript:", "http://", "https://"} {
			at := strings.Index(page, bad)
			if at >= 0 && !strings.Contains(page[max(at-40, 0):at+60], `placeholder="http://`) && !strings.Contains(page[max(at-60, 0):at+60], "explain?url=http") &&
				!strings.Contains(page[max(at-60, 0):at+60], `<option value="http://orders/"`) {
				t.Errorf("%s has %q: %s", v.path, bad, page[max(at-40, 0):at+60])
			}
		}
	}
}

// Names come from outside, and stay text.
func TestNamesAreText(t *testing.T) {
	evil := `"><script>alert(1)</script>`
	p := some(t, func(o *Options) {
		o.Summaries = func() []Summary { return []Summary{{Service: evil, Error: evil}} }
		o.Upstream = func(string) (Upstream, bool) {
			return Upstream{Summary: Summary{Service: evil}, Targets: []Target{{Name: evil, Instances: []Instance{{ID: evil, Why: evil}}}}}, true
		}
		o.Events = func() []Event { return []Event{{Service: evil, Text: evil, Detail: evil}} }
	})
	for _, path := range []string{"/", "/upstream?service=x", "/events", "/topology", "/explain"} {
		if page := ask(p, http.MethodGet, path, nil, "").Body.String(); strings.Contains(page, "<script>alert") {
			t.Errorf("%s lets a name become a script", path)
		}
	}
}

// Pages of other sites may link here; they may not read, ask or do anything.
func TestOthersMayOnlyLink(t *testing.T) {
	done := false
	p := some(t, func(o *Options) {
		o.Forgive = func(string, string) error { done = true; return nil }
	})
	cross := map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
	link := map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
	for _, c := range []struct {
		what, method, path string
		header             map[string]string
		want               int
	}{
		{"an image of the overview", http.MethodGet, "/", cross, 403},
		{"a link to the overview", http.MethodGet, "/", link, 200},
		{"a link to an upstream", http.MethodGet, "/upstream?service=orders", link, 200},
		{"a link that has something explained", http.MethodGet, "/explain?url=http://orders/", link, 403},
		{"a frame", http.MethodGet, "/", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403},
		{"a script of another port", http.MethodGet, "/api/overview", map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403},
		{"its own script", http.MethodGet, "/api/overview", map[string]string{"Sec-Fetch-Site": "same-origin"}, 200},
		{"a form of another site", http.MethodPost, "/forgive", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"a form of an old browser on another site", http.MethodPost, "/forgive", map[string]string{"Origin": "http://evil.example"}, 403},
	} {
		body := ""
		if c.method == http.MethodPost {
			body = "service=orders&instance=orders-2"
		}
		if w := ask(p, c.method, c.path, c.header, body); w.Code != c.want {
			t.Errorf("%s gets %d, want %d", c.what, w.Code, c.want)
		}
	}
	if done {
		t.Error("another site has put an instance back")
	}
}

// Without leave the page changes nothing; with it, it does what its own form asks.
func TestActions(t *testing.T) {
	own, form := map[string]string{"Sec-Fetch-Site": "same-origin"}, url.Values{"service": {"orders"}, "instance": {"orders-2"}}.Encode()
	p := some(t, nil)
	if w := ask(p, http.MethodPost, "/forgive", own, form); w.Code != http.StatusForbidden {
		t.Errorf("a page that is for looking answers %d", w.Code)
	}
	if page := ask(p, http.MethodGet, "/upstream?service=orders", nil, "").Body.String(); strings.Contains(page, "put back") {
		t.Error("a page that is for looking offers what it refuses")
	}
	var asked []string
	p = some(t, func(o *Options) {
		o.Forgive = func(service, instance string) error {
			asked = append(asked, service+" "+instance)
			if instance != "orders-2" {
				return errors.New("no such instance")
			}
			return nil
		}
	})
	w := ask(p, http.MethodPost, "/forgive", own, form)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "upstream?service=orders" || len(asked) != 1 || asked[0] != "orders orders-2" {
		t.Errorf("%d to %q, asked %q", w.Code, w.Header().Get("Location"), asked)
	}
	if page := ask(p, http.MethodGet, "/upstream?service=orders", nil, "").Body.String(); strings.Count(page, "put back") != 1 {
		t.Error("what is out can not be put back, or what is in can")
	}
	if w := ask(p, http.MethodPost, "/forgive", own, "service=orders&instance=x"); w.Code != http.StatusNotFound {
		t.Errorf("an unknown instance gets %d", w.Code)
	}
	if w := ask(p, http.MethodGet, "/forgive", own, ""); w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound {
		t.Errorf("a link does something: %d", w.Code)
	}
}

// The page works wherever it is mounted, with whatever is taken off.
func TestMounted(t *testing.T) {
	p := some(t, nil)
	mux := http.NewServeMux()
	mux.Handle("/ops/mesh/", http.StripPrefix("/ops/mesh", p))
	mux.Handle("/short/", http.StripPrefix("/short/", p))
	mux.Handle("/bare", http.StripPrefix("/bare", p))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	for _, path := range []string{"/ops/mesh", "/ops/mesh/", "/ops/mesh/topology", "/ops/mesh/api/overview", "/short/", "/short/events", "/short/assets/page.css"} {
		resp, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || len(body) == 0 {
			t.Errorf("%s: %s, %v", path, resp.Status, err)
		}
	}
	w := ask(mux, http.MethodGet, "/bare", nil, "")
	if at := w.Header().Get("Location"); w.Code != http.StatusTemporaryRedirect || at != "bare/" {
		t.Errorf("without a slash behind it the page answers %d to %q: its own links would lead elsewhere", w.Code, at)
	}
	page := ask(p, http.MethodGet, "/", nil, "").Body.String()
	for _, absolute := range []string{`href="/`, `src="/`, `action="/`} {
		if strings.Contains(page, absolute) {
			t.Errorf("the page has %s", absolute)
		}
	}
}
