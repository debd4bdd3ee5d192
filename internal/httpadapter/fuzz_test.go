package httpadapter

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "0": 0, "2": 2 * time.Second, "2147483647": 2147483647 * time.Second, "2147483648": 0, "-1": 0, "1.5": 0, "soon": 0,
		"Wed, 01 Jul 2026 12:00:30 GMT":      30 * time.Second,
		"Wednesday, 01-Jul-26 12:00:30 GMT":  30 * time.Second,
		"Wed Jul  1 12:00:30 2026":           30 * time.Second,
		"Wed, 01 Jul 2026 11:59:30 GMT":      0,
		"Wed, 01 Jul 2026 14:00:30 +0200":    0,
		"Wed, 01 Jul 2026 12:00:30 GMT, 120": 0,
	} {
		if got := retryAfter(v, now); got != want {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, v := range []string{"0", "120", "Wed, 01 Jul 2026 12:00:30 GMT", "-1", "99999999999", "Wed, 01 Jul 9999 12:00:30 GMT"} {
		f.Add(v)
	}
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, v string) {
		if got := retryAfter(v, now); got < 0 || got%time.Second != 0 && got < 200*365*24*time.Hour {
			t.Errorf("%q: %v", v, got)
		}
	})
}

func TestServiceOf(t *testing.T) {
	for raw, want := range map[string]string{
		"http://web":                            "web",
		"https://Web:8443/x?y#z":                "web",
		"http://web./":                          "web",
		"http://web.service.consul":             "web",
		"http://web.virtual.consul.:80":         "web",
		"http://WEB.Service.Consul":             "web",
		"http://user:secret@web/":               "web",
		"http://v1.web.service.consul":          "",
		"http://web.service.dc2.consul":         "",
		"http://.service.consul":                "",
		"http://service.consul":                 "",
		"http://web.service.consul.example.org": "",
		"http://localhost:80":                   "",
		"http://LOCALHOST":                      "",
		"http://localhost.service.consul":       "",
		"http://example.org":                    "",
		"http://10.0.0.1":                       "",
		"http://[::1]:80":                       "",
		"http://[fe80::1%25en0]":                "",
		"http://":                               "",
		"http://:80":                            "",
		"ftp://web":                             "",
		"unix:web":                              "",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := serviceOf(u); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

// A service is a single label in lower case, and names itself.
func FuzzServiceOf(f *testing.F) {
	for _, host := range []string{"web", "web.service.consul", "web.", "10.0.0.1", "[::1]:80", "LOCALHOST", "a..service.consul", "\u212a", "web:80"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		s := serviceOf(&url.URL{Scheme: "http", Host: host})
		if s == "" {
			return
		}
		if s == "localhost" || strings.ContainsAny(s, ".:") || s != strings.ToLower(s) {
			t.Errorf("%q: %q", host, s)
		}
		for _, again := range []string{s, s + ".service.consul", s + ".virtual.consul.", s + ":8080"} {
			if got := serviceOf(&url.URL{Scheme: "https", Host: again}); got != s {
				t.Errorf("%q is %q, but %q is %q", host, s, again, got)
			}
		}
	})
}

func FuzzIdempotency(f *testing.F) {
	for _, v := range []string{"GET", "get", "POST", "PUT", "", "Idempotency-Key", "X-Idempotency-Key", "idempotency-key"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		safe := map[string]bool{"GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true, "PUT": true, "DELETE": true}
		if got := idempotent(v); got != safe[v] {
			t.Errorf("method %q is idempotent: %v", v, got)
		}
		h := http.Header{}
		h.Set(v, "1")
		name := http.CanonicalHeaderKey(v)
		if got := keyed(h); got != (name == "Idempotency-Key" || name == "X-Idempotency-Key") {
			t.Errorf("%q is a key: %v", v, got)
		}
	})
}

// A trace's headers get the names that net/http would give them.
func FuzzCanonical(f *testing.F) {
	for _, v := range []string{"traceparent", "tracestate", "baggage", "x-b3-traceid", "", "b3", "Trace Parent"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if got, want := canonical(v), http.CanonicalHeaderKey(v); got != want {
			t.Errorf("%q: %q, want %q", v, got, want)
		}
	})
}
