package httpadapter

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/internal/outbound"
)

// headerMirrored is [call.MirroredHeader] as net/http spells it.
const headerMirrored = "Innermesh-Mirrored"

// Expect implements [outbound.Copier].
func (x *exchange) Expect(most int) outbound.Moment {
	switch {
	case x.Method == http.MethodConnect || len(x.req.Header["Upgrade"]) > 0: // a stream, once it is answered
		return outbound.Never
	case x.body == nil:
		return outbound.Now
	case x.req.ContentLength > int64(most):
		return outbound.Never
	}
	if x.body.tap == nil {
		x.body.tap = new(tap)
	}
	x.body.tap.most = max(x.body.tap.most, most)
	return outbound.Later
}

// Copy implements [outbound.Copier].
func (x *exchange) Copy(ctx context.Context, most int) (outbound.Copy[*http.Response], bool) {
	var content []byte
	if x.body != nil {
		var whole bool
		if content, whole = x.body.tap.content(x.req.ContentLength); !whole || len(content) > most {
			return outbound.Copy[*http.Response]{}, false
		}
	}
	req := x.req.Clone(ctx)
	req.Response, req.Trailer, req.TransferEncoding, req.Body, req.GetBody = nil, nil, nil, nil, nil
	if x.body != nil {
		req.ContentLength = int64(len(content))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
		req.Body, _ = req.GetBody()
	}
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	given := slices.Concat(req.Header[idempotency.Header], req.Header["X-Idempotency-Key"])
	for _, name := range [...]string{idempotency.Header, "X-Idempotency-Key", "Expect", headerAttempt, headerLeft} {
		delete(req.Header, name)
	}
	c := &copied{x.t.describe(req, x.Service)}
	c.header, c.cloned = req.Header, true
	switch {
	case len(given) > 0:
		c.Key = outbound.CopyKey(given[0])
	case x.Key != "":
		c.Key = outbound.CopyKey(x.Key)
	}
	return outbound.Copy[*http.Response]{Context: ctx, Flight: &c.Flight, Exchange: c}, true
}

// copied is the exchange of a copy.
type copied struct{ *exchange }

// Discard reads the answer to its end: nobody else will, and its connection can
// be used again.
func (c *copied) Discard(res *http.Response) {
	_, _ = io.Copy(io.Discard, res.Body) // it ends with the copy's time at the latest
	_ = res.Body.Close()
}

// tap keeps what an attempt reads of a body, up to a limit. A further attempt
// begins anew, unless one has had all of it. A nil tap keeps nothing.
type tap struct {
	most int

	mu      sync.Mutex
	current *tapped
	kept    []byte
	whole   bool // kept is all of the body
	over    bool // the body is longer than most
}

// on has the tap listen to the body of an attempt.
func (t *tap) on(body io.ReadCloser) io.ReadCloser {
	if t == nil || body == nil {
		return body
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.whole || t.over {
		return body
	}
	t.kept = nil
	t.current = &tapped{body, t}
	return t.current
}

// content returns the body, and whether it is all of it. length is what the
// request says of it, not positive if it says nothing: a transport that knows it
// need not look for the end.
func (t *tap) content(length int64) ([]byte, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clip(t.kept), !t.over && (t.whole || length > 0 && int64(len(t.kept)) == length)
}

// tapped is a body that the tap listens to.
type tapped struct {
	io.ReadCloser
	t *tap
}

// Read implements [io.Reader].
func (r *tapped) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	t := r.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != r || t.over || t.whole {
		return n, err
	}
	if t.over = len(t.kept)+n > t.most; t.over {
		t.kept = nil
		return n, err
	}
	t.kept = append(t.kept, p[:n]...)
	t.whole = err == io.EOF
	return n, err
}
