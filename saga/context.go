package saga

import (
	"cmp"
	"context"
	"net/http"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/idempotency"
)

// Doing is what a step is told about itself.
type Doing struct {
	// Saga is the ID, Definition and Step are names.
	Saga, Definition, Step string
	// Undo says whether the step is being undone.
	Undo bool
	// Attempt counts from 1.
	Attempt int
	// Key is the idempotency key of what is being done, the same in all attempts
	// and unlike any other. Calls through a mesh carry it, see [call.Options]; for
	// other clients there is [Transport]. A step that asks the same place twice
	// needs another key for each, see [idempotency.Derive].
	Key string
	// DoKey is the key of the step's Do: for Undo to name what it takes back.
	DoKey string
	// Token grows with every owner that the saga has had: a receiver that has
	// seen a greater one may refuse this one.
	Token uint64
}

type doingKey struct{}

// From returns what a step is told about itself, from the context that it was
// called with.
func From(ctx context.Context) (d Doing, ok bool) {
	d, ok = ctx.Value(doingKey{}).(Doing)
	return d, ok
}

// Transport returns a round tripper for clients that are no mesh's. It sends the
// key of the step along with the requests that the step makes through base, as
// [idempotency.Header]: with those that have none yet, and whose method is not
// GET, HEAD, OPTIONS or TRACE. The key is that of the step's [call.Options].
func Transport(base http.RoundTripper) http.RoundTripper { return &transport{base: base} }

type transport struct{ base http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	key := call.OptionsFrom(req.Context()).Key
	if d, ok := From(req.Context()); ok {
		key = cmp.Or(key, d.Key)
	}
	if key != "" && !safe(req.Method) && req.Header.Get(idempotency.Header) == "" {
		req = req.Clone(req.Context())
		if req.Header == nil {
			req.Header = http.Header{}
		}
		req.Header.Set(idempotency.Header, idempotency.FormatKey(key))
	}
	return t.base.RoundTrip(req)
}

// CloseIdleConnections closes those of the transport below, if it has any.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func safe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	default:
		return false
	}
}
