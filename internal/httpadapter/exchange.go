package httpadapter

import (
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/internal/outbound"
	"github.com/innermesh/innermesh/internal/route"
)

// exchange is one request on its way: everything that lives as long as the call,
// in one allocation.
type exchange struct {
	outbound.Flight

	facts
	t       *Transport
	url     url.URL     // of the attempt
	header  http.Header // the caller's, until something is added
	cloned  bool
	changed bool           // as the route says
	cookies []*http.Cookie // made up for the caller, to find the instance again
	body    *replay
	content answerBody
	first   lease
}

// describe states the facts of a request.
func (t *Transport) describe(req *http.Request, service string) *exchange {
	x := &exchange{facts: facts{req}, t: t, url: *req.URL, header: req.Header}
	x.Service = service
	x.Protocol = call.HTTP
	x.Method = req.Method
	if x.Method == "" {
		x.Method = http.MethodGet
	}
	x.Options = call.OptionsFrom(req.Context())
	x.Idempotent = idempotent(x.Method) || keyed(req.Header)
	x.Key = keyBefore(req)
	if x.body = newReplay(req); x.body != nil {
		x.body.tell = x
	}
	x.Replayable = true
	return x
}

// idempotent is RFC 9110, section 9.2.2.
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	default:
		return false
	}
}

// Send makes one attempt.
func (x *exchange) Send(a *outbound.Attempt) (*http.Response, call.Outcome) {
	through, r, err := x.request(a)
	if err != nil {
		return nil, call.Outcome{Reason: call.Rejected, Err: err}
	}
	res, err := x.send(through, r, a.Number)
	x.Replayable = x.body.replayable()
	if err != nil {
		return nil, x.judgeError(err)
	}
	return res, judge(res)
}

// send sends the request of an attempt, through the base if there is no line.
func (x *exchange) send(through *line, r *http.Request, number int) (*http.Response, error) {
	if through == nil {
		return x.t.base.RoundTrip(r)
	}
	on := &x.first
	if number > 1 {
		on = new(lease) // the first may still be held
	}
	return through.send(r, on)
}

// request is what an attempt sends, and through what: nil is the base.
func (x *exchange) request(a *outbound.Attempt) (*line, *http.Request, error) {
	through := x.through(a)
	if !x.changed { // once: what comes after starts from it
		x.changed = true
		x.change()
	}
	x.tell(a.Number, x.Left(a))
	x.Inject(a, x)
	r := x.req.WithContext(a)
	r.URL, r.Header = &x.url, x.header
	if r.Host == "" {
		r.Host = x.req.URL.Host
	}
	var err error
	r.Body, r.GetBody, err = x.body.next(x.Route().Policy.Retry.ReplayBytes)
	return through, r, err
}

// change makes of the request what its route says.
func (x *exchange) change() {
	if x.Key != "" {
		x.own()[idempotency.Header] = []string{idempotency.FormatKey(x.Key)}
	}
	way, leg := x.Route(), x.Leg()
	if way.Rewrites() {
		_, path := x.Line()
		x.url.RawPath = way.Path(path)
		x.url.Path = x.url.RawPath
		if plain, err := url.PathUnescape(x.url.RawPath); err == nil {
			x.url.Path = plain
		}
	}
	for _, h := range [...]*route.Headers{&leg.Request, &way.Request} {
		if !h.None() {
			h.HTTP(x.own())
		}
	}
}

// through points the request at the attempt's instance. Only what is dialled is
// physical: host and names stay those of the service.
func (x *exchange) through(a *outbound.Attempt) *line {
	if x.t.conns == nil {
		x.url.Host = a.Member().Address
		return nil
	}
	x.url.Host = x.Service
	x.url.Scheme = "http"
	if x.t.o.TLS != nil {
		x.url.Scheme = "https"
	}
	return x.t.conns.to(a.Member())
}

// judge says what a response tells.
func judge(res *http.Response) call.Outcome {
	out := call.Outcome{Reason: call.ClassifyHTTP(res.StatusCode), Sent: call.Answered, Status: res.StatusCode}
	out.Utilization = utilization(res.Header[headerLoad])
	if out.Reason == call.Throttled || out.Reason == call.Unavailable || out.Status == http.StatusConflict {
		out.Ratelimited = len(res.Header["X-Envoy-Ratelimited"]) > 0
		if out.Status == http.StatusServiceUnavailable && len(res.Header[headerOverloaded]) > 0 {
			out.Reason = call.Throttled // it is well and asks for less: no reason to leave it alone for longer
		}
		out.RetryAfter = patience(res.Header, out.Reason == call.Throttled || out.Ratelimited, time.Now())
	}
	return out
}

// judgeError says how far an attempt got that brought no response.
func (x *exchange) judgeError(err error) call.Outcome {
	out := call.Outcome{Reason: call.Reset, Sent: call.SentUnknown, Err: err}
	if cause := x.body.failure(); cause != nil {
		return call.Outcome{Reason: call.Rejected, Sent: call.SentUnknown, Err: cause}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		out.Reason, out.Sent = call.Unreachable, call.NotSent
	}
	if _, ok := errors.AsType[*ConnectError](err); ok {
		out.Reason, out.Sent = call.Unreachable, call.NotSent
	}
	if unsent, ok := errors.AsType[*unsentError](err); ok {
		out.Reason, out.Sent = unsent.reason, call.NotSent
	}
	if x.t.conns != nil && refusedUs(err) {
		out.Reason, out.Sent = call.Unreachable, call.NotSent
	}
	if !validHeader(x.req) { // net/http refuses it before it looks for a connection
		out.Reason, out.Sent = call.Rejected, call.NotSent
	}
	return out
}

func validHeader(req *http.Request) bool {
	if req.Method != "" && !httpguts.ValidHeaderFieldName(req.Method) { // both are tokens
		return false
	}
	for name, values := range req.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return false
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return false
			}
		}
	}
	return true
}

// Discard reads a short answer to its end, so that its connection can be used
// again, and closes it.
func (x *exchange) Discard(res *http.Response) {
	const short = 4 << 10
	if res.ContentLength >= 0 && res.ContentLength <= short {
		_, _ = io.CopyN(io.Discard, res.Body, short) // best effort: the next attempt does not need it
	}
	_ = res.Body.Close()
}

// answer makes the response the caller's.
func (x *exchange) answer(res *http.Response) *http.Response {
	res.Request = x.asked()
	for _, h := range [...]*route.Headers{&x.Leg().Response, &x.Route().Response} {
		if !h.None() {
			h.HTTP(res.Header)
		}
	}
	x.mark(res)
	for _, c := range x.cookies {
		res.Header.Add("Set-Cookie", c.String())
	}
	switch {
	case res.Body == nil || res.Body == http.NoBody:
		x.End(call.Outcome{})
	case res.StatusCode == http.StatusSwitchingProtocols:
		x.content.init(res.Body, &x.Flight)
		if rw, ok := res.Body.(io.ReadWriteCloser); ok {
			res.Body = &upgraded{answerBody: &x.content, w: rw}
		} else {
			res.Body = &x.content
		}
	default:
		x.content.init(res.Body, &x.Flight)
		res.Body = &x.content
	}
	if call.ClassifyHTTP(res.StatusCode) != call.OK {
		res.Body = &failedBody{res.Body, x, res.StatusCode}
	}
	return res
}

// Get, Set and Keys make the exchange the carrier of a trace. The caller's
// headers are copied before the first is added.

// Get returns a header of the attempt.
func (x *exchange) Get(key string) string { return x.header.Get(key) }

// Set adds a header to the attempts, under the name that net/http would give it.
func (x *exchange) Set(key, value string) { x.own()[canonical(key)] = []string{value} }

// own returns a header that may be changed: the caller's may not.
func (x *exchange) own() http.Header {
	if !x.cloned {
		h := make(http.Header, len(x.req.Header)+1)
		maps.Copy(h, x.req.Header)
		x.header, x.cloned = h, true
	}
	return x.header
}

// MakeCookie implements [route.CookieMaker].
func (x *exchange) MakeCookie(name, path string, ttl time.Duration) string {
	c := &http.Cookie{ //nolint:gosec // calls in the clear need it as well
		Name: name, Value: rand.Text(), Path: path, HttpOnly: true, MaxAge: int(ttl / time.Second),
	}
	x.cookies = append(x.cookies, c)
	return c.Value
}

// canonical knows the names that propagators write by heart; net/http makes
// those anew each time.
func canonical(key string) string {
	switch key {
	case "traceparent":
		return "Traceparent"
	case "tracestate":
		return "Tracestate"
	case "baggage":
		return "Baggage"
	default:
		return http.CanonicalHeaderKey(key)
	}
}

// Keys lists the headers of the attempt.
func (x *exchange) Keys() []string {
	return slices.Collect(maps.Keys(x.header))
}
