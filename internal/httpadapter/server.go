package httpadapter

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/inbound"
)

// Serve takes the requests that next serves through the path in. Its three steps
// are those of a client's, turned round: describe the request, serve it, tell how
// it was answered.
func Serve(s *inbound.Server, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{server: s, w: w}
		v.describe(r)
		ctx, err := s.Enter(r.Context(), &v.arrival)
		v.values[0] = v.arrival.Inbound.RequestID
		w.Header()[headerRequestID] = v.values[0:1:1]
		if err != nil {
			v.refuse(err)
			return
		}
		v.request = v.arranged(ctx, r)
		defer func() { v.leave(recover()) }()
		next.ServeHTTP(v.writer(), v.request)
	})
}

// visit is one request that is served: everything that lives as long as it, in one
// allocation.
type visit struct {
	server  *inbound.Server
	arrival inbound.Arrival
	request *http.Request // as the handler sees it
	w       http.ResponseWriter
	values  [2]string // of headers: the request's ID, the load
	status  int       // 0 until the head of the answer is written
	taken   bool      // the connection is the handler's
}

// describe states the facts of a request.
func (v *visit) describe(r *http.Request) {
	a := &v.arrival
	a.Protocol, a.Method, a.Host, a.Path = call.HTTP, r.Method, r.Host, r.URL.EscapedPath()
	a.Header, a.Query, a.TLS, a.Remote = r.Header, r.URL.RawQuery, r.TLS, r.RemoteAddr
	a.Stream = len(r.Header["Upgrade"]) > 0 || strings.HasPrefix(r.Header.Get("Accept"), "text/event-stream")
}

// arranged is the request as its handler sees it: with the path that the
// authorizer has seen, and the query and the header that the path in leaves.
func (v *visit) arranged(ctx context.Context, r *http.Request) *http.Request {
	r = r.WithContext(ctx)
	if v.arrival.Rewritten() {
		r.Header = v.arrival.Header
	}
	path, query := v.arrival.Path, v.arrival.Query
	if path == r.URL.EscapedPath() && query == r.URL.RawQuery {
		return r
	}
	u := *r.URL
	if path != r.URL.EscapedPath() {
		u.Path, u.RawPath = path, path
		if plain, err := url.PathUnescape(path); err == nil {
			u.Path = plain
		}
	}
	u.RawQuery = query
	r.URL, r.RequestURI = &u, u.RequestURI() // both: what was taken out is nowhere, and what is read is one
	return r
}

// refuse tells why the request is not served.
func (v *visit) refuse(err error) {
	e, ok := errors.AsType[*inbound.RefusedError](err)
	if !ok {
		e = &inbound.RefusedError{Reason: inbound.Denied}
	}
	h := v.w.Header()
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	if e.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds())))}
		h[headerRetryMillis] = []string{strconv.FormatInt(millis(e.RetryAfter), 10)}
	}
	if e.Pushback() && e.Status() == http.StatusServiceUnavailable {
		h[headerOverloaded] = []string{"true"}
	}
	if e.Reason == inbound.Unauthenticated {
		h["Www-Authenticate"] = []string{"Bearer"}
	}
	v.tellLoad()
	v.w.WriteHeader(e.Status())
	_, _ = v.w.Write([]byte(e.Message() + "\n")) // the status counts
}

// The headers of a refusal that our clients read: a pause of less than seconds, and
// that the instance is well and asks for less, which is Envoy's name.
const (
	headerRetryMillis = "Retry-After-Ms"
	headerOverloaded  = "X-Envoy-Overloaded"
)

func millis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// leave ends the visit when the handler has returned, or panicked with a value.
func (v *visit) leave(value any) {
	if value == nil {
		v.head(0)
		v.server.Leave(&v.arrival, v.ending(cmp.Or(v.status, http.StatusOK)))
		return
	}
	abort := v.status != 0 || v.taken || value == http.ErrAbortHandler //nolint:errorlint // net/http compares it so
	e := v.ending(http.StatusInternalServerError)
	if e.Panicked = value != http.ErrAbortHandler; e.Panicked { //nolint:errorlint // as above
		v.server.Panicked(v.request.Context(), &v.arrival, value, debug.Stack())
	}
	if !abort {
		http.Error(v.w, "innermesh: the handler has failed", http.StatusInternalServerError)
	}
	v.server.Leave(&v.arrival, e)
	if abort { // half an answer must not look like a whole one
		panic(http.ErrAbortHandler) //nolint:forbidigo // net/http's way to end a connection; it expects this value
	}
}

func (v *visit) ending(status int) inbound.Ending {
	e := inbound.Ending{Status: status, Reason: call.ClassifyHTTP(status), Route: pathOf(v.request.Pattern)}
	switch err := v.request.Context().Err(); {
	case errors.Is(err, context.Canceled):
		e.Reason = call.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		e.Reason = call.Expired
	}
	return e
}

// pathOf is the path of a pattern of http.ServeMux.
func pathOf(pattern string) string {
	if i := strings.IndexByte(pattern, '/'); i >= 0 {
		return pattern[i:]
	}
	return ""
}
