package health

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/innermesh/innermesh/discovery"
)

// Livez answers /livez: 200 while the program lives, 503 while a vital check
// fails. Whatever else is wrong, starting the program anew would not mend it.
//
// Like [Monitor.Readyz] it answers GET and HEAD in plain text, "ok" or one line
// for each part; verbose as a parameter asks for the lines in any case, and
// exclude, as often as wanted, leaves a part out by its name. So do the endpoints
// of Kubernetes.
func (m *Monitor) Livez() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		report := m.Report(r.URL.Query()["exclude"]...)
		vital := report.Parts[:0]
		for _, p := range report.Parts {
			if p.Kind == Vital {
				vital = append(vital, p)
			}
		}
		code := http.StatusOK
		if !report.Live {
			code = http.StatusServiceUnavailable
		}
		respond(w, r, "livez", code, vital)
	})
}

// Readyz answers /readyz: 200 while the program is ready, 503 while it is not. A
// warning is ready, and with warning=429 as a parameter answered with 429: what
// an HTTP check of Consul takes for one.
func (m *Monitor) Readyz() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		report := m.Report(query["exclude"]...)
		code := http.StatusOK
		switch {
		case !report.Ready:
			code = http.StatusServiceUnavailable
		case report.Health == discovery.Warning && query.Get("warning") == "429":
			code = http.StatusTooManyRequests
		}
		respond(w, r, "readyz", code, report.Parts)
	})
}

func respond(w http.ResponseWriter, r *http.Request, name string, code int, parts []Part) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache, private")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body := "ok"
	if code != http.StatusOK || r.URL.Query().Has("verbose") {
		body = lines(name, code, parts)
	}
	w.WriteHeader(code)
	_, _ = io.WriteString(w, body) // who asked may be gone; net/http leaves it out for HEAD
}

func lines(name string, code int, parts []Part) string {
	var b strings.Builder
	for _, p := range parts {
		switch p.Health {
		case discovery.Passing:
			fmt.Fprintf(&b, "[+]%s ok\n", p.Name)
		case discovery.Warning:
			fmt.Fprintf(&b, "[!]%s warning: %s\n", p.Name, p.Output)
		default:
			fmt.Fprintf(&b, "[-]%s failed: %s\n", p.Name, p.Output)
		}
	}
	verdict := "passed"
	switch code {
	case http.StatusServiceUnavailable:
		verdict = "failed"
	case http.StatusTooManyRequests:
		verdict = "passed with a warning"
	}
	fmt.Fprintf(&b, "%s check %s\n", name, verdict)
	return b.String()
}
