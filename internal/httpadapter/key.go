package httpadapter

import (
	"cmp"
	"net/http"

	"github.com/innermesh/innermesh/idempotency"
)

// Keyed implements [outbound.Request].
func (x *exchange) Keyed() (given, needless bool) { return keyed(x.req.Header), idempotent(x.Method) }

// keyed says whether the request carries a key that makes it safe to repeat, as
// net/http has it too.
func keyed(h http.Header) bool {
	return h[idempotency.Header] != nil || h["X-Idempotency-Key"] != nil
}

// keyBefore returns the key that the library has put on the request which was
// redirected to this one, "" if there is none. It goes on with what is asked
// again: a 303 asks for something else.
func keyBefore(req *http.Request) string {
	if req.Response == nil || req.Response.Request == nil {
		return ""
	}
	before := req.Response.Request
	if cmp.Or(before.Method, http.MethodGet) != cmp.Or(req.Method, http.MethodGet) {
		return ""
	}
	key, err := idempotency.ParseKey(before.Header.Get(idempotency.Header))
	if err != nil {
		return ""
	}
	return key
}

// asked is the caller's request as an answer tells of it: with the key that it
// was given on the way, for whoever follows a redirect.
func (x *exchange) asked() *http.Request {
	if x.Key == "" {
		return x.req
	}
	r := x.req.WithContext(x.req.Context())
	r.Header = x.req.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header[idempotency.Header] = []string{idempotency.FormatKey(x.Key)}
	return r
}
