package admin

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
)

//go:embed assets
var assets embed.FS

// routes is all that the page answers to.
func (p *Page) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /assets/{name...}", serveAsset)
	mux.HandleFunc("GET /live", p.live)
	mux.HandleFunc("GET /api", p.apiIndex)
	mux.HandleFunc("GET /api/{$}", p.apiIndex)
	for _, v := range views {
		mux.HandleFunc("GET /"+v.path+end(v.path), func(w http.ResponseWriter, r *http.Request) { p.show(w, r, v) })
		mux.HandleFunc("GET /api/"+v.api, func(w http.ResponseWriter, r *http.Request) { p.api(w, r, v) })
	}
	mux.HandleFunc("POST /forgive", p.forgive)
	mux.HandleFunc("POST /duty", p.duty)
	same := http.NewCrossOriginProtection().Handler(guarded(mux))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "" || r.URL.Path[0] != '/' { // the prefix was taken off with its slash, or there was none behind it
			if asked, _, _ := strings.Cut(r.RequestURI, "?"); r.URL.Path == "" && !strings.HasSuffix(asked, "/") {
				w.Header().Set("Location", path.Base(asked)+"/")
				w.WriteHeader(http.StatusTemporaryRedirect)
				return
			}
			r2, u := *r, *r.URL
			u.Path, u.RawPath = "/"+u.Path, ""
			r2.URL = &u
			r = &r2
		}
		same.ServeHTTP(w, r)
	})
}

// end keeps the pattern of the first page from matching everything.
func end(path string) string {
	if path == "" {
		return "{$}"
	}
	return ""
}

// policyOfContent lets the page load what is its own, and nothing else: no script
// or style in the page itself, no frame around it, no form to elsewhere.
const policyOfContent = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// guarded sets what keeps others from using the page. What it tells is nobody
// else's: pages of other origins may link to it, and no more.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policyOfContent)
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		site := r.Header.Get("Sec-Fetch-Site")
		// To explain a request is work, and may begin to follow a service.
		link := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" &&
			(r.URL.RawQuery == "" || r.URL.Path != "/explain")
		if (site == "cross-site" || site == "same-site") && !link {
			http.Error(w, "other sites may link to this page, and no more", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// types are those of the assets, so that no table of the machine's decides.
var types = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
	".txt": "text/plain; charset=utf-8",
}

func serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	data, err := assets.ReadFile("assets/" + name)
	kind, known := types[path.Ext(name)]
	if err != nil || !known {
		http.NotFound(w, r)
		return
	}
	sum := sha256.Sum256(data)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	w.Header().Set("Cache-Control", "no-cache") // kept, and asked for whether it is still the same
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(data) //nolint:gosec // a file that was built in; whoever has gone needs it no more
}
