package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// slow is how long a listener may take to take in a piece of news.
const slow = 10 * time.Second

// live tells a listener, as server-sent events, what has changed on the page that
// it looks at: the whole of the page's changing part, whenever it is not as before.
func (p *Page) live(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	at := slices.IndexFunc(views, func(v *view) bool { return v.api == q.Get("view") && !v.still })
	if at < 0 {
		http.Error(w, "view is none of those that are refreshed", http.StatusNotFound)
		return
	}
	leave, ok := p.enter()
	if !ok {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "enough others are listening, or the mesh is closed: load the page again", http.StatusServiceUnavailable)
		return
	}
	defer leave()
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy in front must not wait for more
	w.WriteHeader(http.StatusOK)
	send := func(event string, data any) bool {
		line, err := json.Marshal(data)
		if err != nil {
			return false
		}
		// Where it can not be set the server's own deadlines hold.
		_ = out.SetWriteDeadline(time.Now().Add(slow))
		if _, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, line); err != nil {
			return false
		}
		return out.Flush() == nil
	}
	if !send("hello", p.o.Every.Milliseconds()) {
		return
	}
	var last []byte
	wait := time.NewTimer(p.o.Every)
	defer wait.Stop()
	for {
		select {
		case <-wait.C:
		case <-r.Context().Done():
			return
		case <-p.ctx.Done():
			send("bye", "closed")
			return
		}
		began := time.Now()
		page, err := p.render(r.Context(), views[at], q)
		switch {
		case err != nil:
			send("bye", "gone")
			return
		case bytes.Equal(page, last):
			if !send("same", nil) { // a sign of life, and how the end is noticed
				return
			}
		case !send("page", string(page)):
			return
		}
		last = page
		// A page that is a lot of work is made less often.
		wait.Reset(max(p.o.Every, 10*time.Since(began)))
	}
}
