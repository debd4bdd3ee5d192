package idempotency

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/innermesh/innermesh/call"
)

// Middleware guards next. A request of a guarded method with a key runs next
// once; repeats get the status, the headers and the body of the first, marked
// with [ReplayedHeader].
//
// An answer of up to MaxResponse bytes is held back until it is kept, so that
// nobody has seen what a crash could take back; a handler that flushes has it
// sent at once. Kept are all headers that the handler set, except those that
// belong to the connection or the moment (hop-by-hop ones, Date, Age,
// Content-Length, Trailer, Server-Timing) and Set-Cookie. Trailers are not kept.
//
// If next panics, the key is free again and the panic goes on. If the request's
// body breaks off while next reads it, an answer of 400 or more is not kept.
// Hijacked connections are not guarded.
//
// What is refused is told as application/problem+json: 400 for a key that is
// missing or none, 409 with Retry-After while the first runs, 422 for another
// request with the same key and for an answer that was too large to be kept, 409
// without Retry-After when the outcome is unknown, 503 with Retry-After when the
// store fails.
func (g *Guard) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(g.o.HTTP.Methods, r.Method) {
			next.ServeHTTP(w, r)
			return
		}
		key, err := g.Key(r.Header.Values(Header), g.o.HTTP.Require)
		if key == "" && err == nil {
			next.ServeHTTP(w, r)
			return
		}
		if err != nil {
			g.refuse(w, err)
			return
		}
		g.serve(w, r, key, next)
	})
}

func (g *Guard) serve(w http.ResponseWriter, r *http.Request, key string, next http.Handler) {
	body, fingerprint, err := g.read(r)
	if err != nil {
		g.refuse(w, err)
		return
	}
	turn, err := g.Enter(r.Context(), Request{
		Protocol: call.HTTP, Caller: g.o.HTTP.Caller(r), Route: g.o.HTTP.Route(r), Key: key, Fingerprint: fingerprint,
	})
	if err != nil {
		g.refuse(w, err)
		return
	}
	defer turn.Abandon() // no effect once it is complete
	if o := turn.Replay(); o != nil {
		replay(w, o)
		return
	}
	r = r.WithContext(turn.Context())
	r.Body = body
	if turn.Owner() == 0 { // nobody guards it
		next.ServeHTTP(w, r)
		return
	}
	rec := newRecorder(w, g.o.MaxResponse)
	next.ServeHTTP(rec, r)
	if rec.hijacked || body.broken() && rec.status >= http.StatusBadRequest {
		turn.Abandon()
	} else if err := turn.Complete(rec.outcome()); errors.Is(err, ErrLost) && !rec.sent {
		g.refuse(w, ErrRunning) // what the new owner will say counts
		return
	}
	rec.finish()
}

// read reads as much of the body as counts for the fingerprint, and returns the
// body as it was.
func (g *Guard) read(r *http.Request) (*replayBody, Fingerprint, error) {
	h := NewHash(r.Method, r.URL.EscapedPath(), r.URL.Query().Encode())
	if r.Body == nil || r.Body == http.NoBody {
		return &replayBody{Reader: http.NoBody, Closer: http.NoBody}, h.Sum(), nil
	}
	var head bytes.Buffer
	if n := min(r.ContentLength, int64(g.o.MaxRequest), 64<<10); n > 0 {
		head.Grow(int(n) + bytes.MinRead)
	}
	n, err := io.Copy(&head, io.LimitReader(r.Body, int64(g.o.MaxRequest)+1))
	if err != nil {
		return nil, Fingerprint{}, &brokenError{err}
	}
	b := &replayBody{Reader: &head, Closer: r.Body}
	if n <= int64(g.o.MaxRequest) {
		h.Part("whole")
		_, _ = h.Write(head.Bytes())
		return b, h.Sum(), nil
	}
	b.rest = &watched{r: r.Body}
	b.Reader = io.MultiReader(&head, b.rest)
	h.Part("beginning of " + strconv.FormatInt(r.ContentLength, 10))
	_, _ = h.Write(head.Bytes()[:g.o.MaxRequest])
	return b, h.Sum(), nil
}

// replayBody is a request's body of which a part was read before.
type replayBody struct {
	io.Reader
	io.Closer
	rest *watched // nil if all was read
}

func (b *replayBody) broken() bool { return b.rest != nil && b.rest.failed }

// watched remembers whether reading failed.
type watched struct {
	r      io.Reader
	failed bool
}

// Read implements [io.Reader].
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.failed = w.failed || err != nil && err != io.EOF
	return n, err
}

// brokenError says that a request's body could not be read: nothing was done.
type brokenError struct{ err error }

// Error implements error.
func (e *brokenError) Error() string { return "read the request's body: " + e.err.Error() }

// Unwrap returns the cause.
func (e *brokenError) Unwrap() error { return e.err }

// certified is the default of HTTPOptions.Caller.
func certified(r *http.Request) string { return Certified(r.TLS) }

// Certified returns the name of who has proven it with a verified certificate:
// its first URI, which is a SPIFFE ID in a mesh, else its subject. It is "" for
// everybody else.
func Certified(state *tls.ConnectionState) string {
	if state == nil || len(state.VerifiedChains) == 0 {
		return ""
	}
	leaf := state.VerifiedChains[0][0]
	if len(leaf.URIs) > 0 {
		return leaf.URIs[0].String()
	}
	return leaf.Subject.String()
}

// methodAndPath is the default of HTTPOptions.Route.
func methodAndPath(r *http.Request) string { return r.Method + " " + r.URL.EscapedPath() }
