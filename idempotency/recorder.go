package idempotency

import (
	"bufio"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
)

// recorder is the [http.ResponseWriter] of a handler whose answer is kept. It
// holds the answer back up to a limit; when there is more, or the handler
// flushes, the answer goes on to the client as it comes.
type recorder struct {
	w      http.ResponseWriter
	limit  int
	before http.Header // what stood there when the handler began
	header http.Header // the handler's
	said   http.Header // what it was when the status was said

	status   int
	body     []byte
	over     bool // there is more than the limit
	sent     bool // the client has status, headers and body so far
	hijacked bool
}

func newRecorder(w http.ResponseWriter, limit int) *recorder {
	return &recorder{w: w, limit: limit, before: w.Header().Clone(), header: w.Header().Clone()}
}

// Header implements [http.ResponseWriter].
func (r *recorder) Header() http.Header {
	if r.header == nil { // the clone of nil
		r.header = http.Header{}
	}
	return r.header
}

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(status int) {
	switch {
	case r.status != 0 || r.hijacked:
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols: // only news of the way
		r.tell(r.header)
		r.w.WriteHeader(status)
	default:
		r.status, r.said = status, r.Header().Clone()
	}
}

// Write implements [http.ResponseWriter]. It fails only once the answer is too
// large to be kept: until then a client that has left changes nothing.
func (r *recorder) Write(p []byte) (int, error) {
	if r.hijacked {
		return 0, http.ErrHijacked
	}
	r.WriteHeader(http.StatusOK)
	if !bodyAllowed(r.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if !r.over && len(r.body)+len(p) > r.limit {
		r.send()
		r.over, r.body = true, nil
	}
	if r.over {
		return r.w.Write(p)
	}
	r.body = append(r.body, p...)
	if r.sent {
		_, _ = r.w.Write(p)
	}
	return len(p), nil
}

// FlushError implements what [http.ResponseController] looks for.
func (r *recorder) FlushError() error {
	r.WriteHeader(http.StatusOK)
	r.send()
	return http.NewResponseController(r.w).Flush()
}

// Flush implements [http.Flusher].
func (r *recorder) Flush() { _ = r.FlushError() }

// Hijack implements [http.Hijacker]: the connection is the handler's, and there
// is no outcome.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buf, err := http.NewResponseController(r.w).Hijack()
	r.hijacked = r.hijacked || err == nil
	return conn, buf, err
}

// Unwrap is for [http.ResponseController], which finds deadlines below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.w }

// outcome returns what is to be kept.
func (r *recorder) outcome() Outcome {
	r.WriteHeader(http.StatusOK) // as net/http does for a handler that said nothing
	o := Outcome{Status: r.status, Header: worthKeeping(r.before, r.said), Body: r.body}
	if r.over {
		return o.WithoutBody()
	}
	return o
}

// finish sends what was held back, and trailers.
func (r *recorder) finish() {
	if r.hijacked {
		return
	}
	r.WriteHeader(http.StatusOK)
	r.send()
	maps.Copy(r.w.Header(), r.header) // of headers only trailers count by now
}

func (r *recorder) send() {
	if r.sent || r.hijacked {
		return
	}
	r.sent = true
	r.tell(r.said)
	r.w.WriteHeader(r.status)
	if len(r.body) > 0 {
		_, _ = r.w.Write(r.body) // a client that has left changes nothing
	}
}

// tell makes the client's headers equal to these.
func (r *recorder) tell(h http.Header) {
	clear(r.w.Header())
	maps.Copy(r.w.Header(), h)
}

// replay answers with what was kept.
func replay(w http.ResponseWriter, o *Outcome) {
	for k, vs := range o.Header {
		w.Header()[k] = slices.Clone(vs) // others append to it
	}
	w.Header().Set(ReplayedHeader, "true")
	w.WriteHeader(o.Status)
	if len(o.Body) > 0 {
		_, _ = w.Write(o.Body) // the client may have left
	}
}

// passing are headers of the connection or of the moment, and those that a
// second reader must not have.
var passing = map[string]bool{
	"Age": true, "Connection": true, "Content-Length": true, "Date": true, "Keep-Alive": true,
	"Proxy-Authenticate": true, "Proxy-Authentication-Info": true, "Proxy-Connection": true,
	"Server-Timing": true, "Set-Cookie": true, "Te": true, "Trailer": true, "Transfer-Encoding": true,
	"Upgrade": true,
}

// worthKeeping returns the headers that the handler set. What stood there before
// will stand there for the repeat, too.
func worthKeeping(before, said http.Header) map[string][]string {
	kept := map[string][]string{}
	for k, vs := range said {
		if !passing[k] && !strings.HasPrefix(k, http.TrailerPrefix) && !slices.Equal(before[k], vs) {
			kept[k] = vs
		}
	}
	for _, list := range said["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			delete(kept, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	return kept
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified ||
		status == http.StatusSwitchingProtocols
}
