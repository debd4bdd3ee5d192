package deadletter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/innermesh/innermesh/call"
)

// Transport wraps a round tripper, such as a mesh's, so that durable requests
// that fail for good are kept. All others pass through untouched.
//
// A durable request is sent with an Idempotency-Key, minted unless it has one:
// attempts, hedges and redrives all carry the same. A body without GetBody is
// read before the request is sent, up to the cap. When the call has failed the
// caller gets a [*KeptError] instead of the error or the failing answer. A call that
// the caller has canceled is not kept, unless by option.
func (r *Recorder) Transport(base http.RoundTripper) http.RoundTripper {
	return &transport{r: r, base: base}
}

type transport struct {
	r    *Recorder
	base http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	o, durable := t.r.marked(req.Context(), safe(req.Method))
	if !durable || req.URL == nil {
		return t.base.RoundTrip(req)
	}
	began := now()
	sent, body, err := t.prepare(req, o)
	if err != nil {
		return nil, err
	}
	res, err := t.base.RoundTrip(sent)
	if !t.r.final(req.Context(), res, err) {
		return res, err // whose Request tells the key to the one it may be redirected to
	}
	if err == nil {
		err = answered(sent, res)
	}
	return nil, t.r.keepRequest(sent, o, body, began, err)
}

// CloseIdleConnections passes the wish on; [http.Client.CloseIdleConnections]
// calls it.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// safe is RFC 9110, section 9.2.1: a request that changes nothing is not worth
// a letter.
func safe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	default:
		return false
	}
}

// prepare copies the request, gives it its key and makes sure that its body can
// be read again. body reads it, cut tells that it is only the beginning.
func (t *transport) prepare(req *http.Request, o RequestOptions) (sent *http.Request, body func() ([]byte, bool, error), err error) {
	sent = new(http.Request)
	*sent = *req
	sent.Header = req.Header.Clone()
	if sent.Header == nil {
		sent.Header = http.Header{}
	}
	if sent.Header.Get(KeyHeader) == "" {
		key := keyBefore(req)
		if !fitKey(key) {
			if req.Body != nil {
				_ = req.Body.Close() // the caller gets the error that matters
			}
			return nil, nil, rejected(req, errors.New("the key in call.Options is none: want 1 to 255 printable ASCII characters"))
		}
		sent.Header.Set(KeyHeader, key)
	}
	limit := o.maxBody()
	if req.Body != nil && req.Body != http.NoBody && req.GetBody != nil {
		return sent, func() ([]byte, bool, error) { return again(req.GetBody, limit) }, nil
	}
	c, err := readBody(req, limit)
	if err != nil {
		return nil, nil, rejected(req, err)
	}
	switch {
	case c.more != nil:
		sent.Body = &prefixed{Reader: io.MultiReader(bytes.NewReader(c.start), c.more), Closer: c.more}
		return sent, func() ([]byte, bool, error) { return c.start[:limit], true, nil }, nil
	case len(c.start) == 0:
		sent.Body, sent.ContentLength = http.NoBody, 0
	default:
		sent.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c.start)), nil }
		sent.Body, _ = sent.GetBody() // never fails
		if sent.ContentLength <= 0 {
			sent.ContentLength = int64(len(c.start))
		}
	}
	return sent, func() ([]byte, bool, error) { return c.start, false, nil }, nil
}

func rejected(req *http.Request, err error) error {
	return &call.Error{Service: req.URL.Hostname(), Method: req.Method, Reason: call.Rejected, Err: err}
}

// prefixed is a body whose beginning was read already.
type prefixed struct {
	io.Reader
	io.Closer
}

// again reads a body once more.
func again(get func() (io.ReadCloser, error), limit int) (start []byte, cut bool, err error) {
	body, err := get()
	if err != nil {
		return nil, false, err
	}
	defer body.Close() // only read
	if start, err = io.ReadAll(io.LimitReader(body, int64(limit)+1)); err == nil && len(start) > limit {
		return start[:limit], true, nil
	}
	return start, false, err
}

// final says whether the call is to be kept.
func (r *Recorder) final(ctx context.Context, res *http.Response, err error) bool {
	if err != nil && !r.Lost(ctx, err) {
		return false
	}
	return r.o.Final(res, err)
}

func canceled(ctx context.Context, err error) bool {
	if e, ok := errors.AsType[*call.Error](err); ok {
		return e.Reason == call.Canceled && (e.Sent != call.Answered || ctx.Err() != nil) // an instance may answer so, too
	}
	return errors.Is(ctx.Err(), context.Canceled)
}

// answered makes an error of an answer, which nobody will read.
func answered(req *http.Request, res *http.Response) error {
	e := &call.Error{
		Service: req.URL.Hostname(), Method: req.Method, Reason: call.ClassifyHTTP(res.StatusCode), Sent: call.Answered,
	}
	if body, ok := res.Body.(interface{ Failure() *call.Error }); ok { // a mesh knows more
		e = body.Failure()
	}
	if res.Body != nil {
		_, _ = io.CopyN(io.Discard, res.Body, 4<<10) // so that the connection can be used again
		_ = res.Body.Close()
	}
	e.Err = &StatusError{Status: res.StatusCode, RetryAfter: retryAfter(res.Header.Get("Retry-After"), time.Now())}
	return e
}

func (r *Recorder) keepRequest(
	req *http.Request, o RequestOptions, body func() ([]byte, bool, error), began time.Time, cause error,
) error {
	l, secrets := o.envelope(req, time.Now())
	var err error
	if l.Body, l.Incomplete, err = body(); err != nil {
		l.Incomplete = true
	}
	if l.Incomplete {
		l.State = Parked
	}
	a := Attempt{At: began, Took: time.Since(began)}
	a.fail(cause)
	a.Error = redact(a.Error, secrets)
	l.record(a)
	return r.put(req.Context(), l, cause)
}
