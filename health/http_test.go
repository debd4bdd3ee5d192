package health

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
)

func TestEndpoints(t *testing.T) {
	fails := func(context.Context) error { return errDown }
	for _, c := range []struct {
		name         string
		method, path string
		checks       []Check
		hold         bool
		code         int
		body         string
	}{
		{"ready", "GET", "/readyz", nil, false, 200, "ok"},
		{"verbose", "GET", "/readyz?verbose", []Check{{Name: "cache", Kind: Informational, Func: fails}}, false, 200,
			"[!]cache warning: connection refused\nreadyz check passed\n"},
		{"a warning to Consul", "GET", "/readyz?warning=429", []Check{{Name: "cache", Kind: Informational, Func: fails}}, false, 429,
			"[!]cache warning: connection refused\nreadyz check passed with a warning\n"},
		{"no warning to Consul", "GET", "/readyz?warning=429", nil, false, 200, "ok"},
		{"failing", "GET", "/readyz", []Check{{Name: "db", Func: fails}}, false, 503, "[-]db failed: connection refused\nreadyz check failed\n"},
		{"left out", "GET", "/readyz?exclude=db&verbose", []Check{{Name: "db", Func: fails}}, false, 200, "readyz check passed\n"},
		{"held", "GET", "/readyz", nil, true, 503, "[-]leaving failed: bye\nreadyz check failed\n"},
		{"held and live", "GET", "/livez", []Check{{Name: "db", Func: fails}}, true, 200, "ok"},
		{"dead", "GET", "/livez", []Check{{Name: "db", Func: fails}, {Name: "loop", Kind: Vital, Func: fails}}, false, 503,
			"[-]loop failed: connection refused\nlivez check failed\n"},
		{"live in words", "GET", "/livez?verbose", []Check{{Name: "loop", Kind: Vital, Func: func(context.Context) error { return nil }}}, false, 200,
			"[+]loop ok\nlivez check passed\n"},
		{"HEAD", "HEAD", "/readyz", nil, true, 503, ""},
		{"POST", "POST", "/readyz", nil, false, 405, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, _ := open(t, c.checks...)
				if c.hold {
					m.Hold("leaving", "bye")
				}
				synctest.Wait()
				mux := http.NewServeMux()
				mux.Handle("/livez", m.Livez())
				mux.Handle("/readyz", m.Readyz())
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, httptest.NewRequest(c.method, c.path, http.NoBody))
				res := w.Result()
				body, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				if c.method == http.MethodHead {
					body = nil // the server leaves it out
				}
				if res.StatusCode != c.code || string(body) != c.body {
					t.Errorf("%d %q, want %d %q", res.StatusCode, body, c.code, c.body)
				}
				if ct := res.Header.Get("Content-Type"); ct != "text/plain; charset=utf-8" {
					t.Errorf("content type %q", ct)
				}
				if res.Header.Get("Cache-Control") == "" || (c.code == 405) != (res.Header.Get("Allow") != "") {
					t.Errorf("headers %v", res.Header)
				}
			})
		})
	}
}
