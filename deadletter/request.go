package deadletter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/innermesh/innermesh/call"
)

// KeyHeader is the header that carries the idempotency key.
const KeyHeader = "Idempotency-Key"

// ErrTooLarge is the cause of a refusal of a body above the cap.
var ErrTooLarge = errors.New("the body is longer than a letter may have: raise MaxBody, or send a pointer to it")

// ErrIncomplete is the cause of a refusal to send a letter whose body was cut.
var ErrIncomplete = errors.New("only the beginning of the body was kept, so the letter can not be sent")

// defaultMaxBody leaves room for the rest of a letter in one message of NATS
// with its default limit of 1 MiB.
const defaultMaxBody = 512 << 10

// RequestOptions say how a request becomes a letter.
type RequestOptions struct {
	// MaxBody is how long a body may be, in bytes. Default 512 KiB.
	MaxBody int
	// Secrets are left out.
	Secrets Secrets
	// Trace writes the context's trace as headers. Default: traceparent,
	// tracestate and baggage are taken from the request. With OpenTelemetry:
	//
	//	func(ctx context.Context, h http.Header) {
	//		otel.GetTextMapPropagator().Inject(ctx, propagation.HeaderCarrier(h))
	//	}
	Trace func(ctx context.Context, h http.Header)
	// Keep is how long the letter is of use. Default: for ever.
	Keep time.Duration
	// Labels are yours, to find letters by.
	Labels map[string]string
}

func (o RequestOptions) validate(field string) error {
	return errors.Join(notNegative(field+".MaxBody", o.MaxBody), notNegative(field+".Keep", o.Keep))
}

// apply does to a letter what is done to those that are made of requests, and
// returns the secrets that it took out.
func (o RequestOptions) apply(l *Letter) (secrets []string) {
	if l.Expires.IsZero() && o.Keep > 0 {
		l.Expires = l.Created.Add(o.Keep)
	}
	if len(o.Labels) > 0 {
		labels := maps.Clone(o.Labels)
		maps.Copy(labels, l.Labels)
		l.Labels = labels
	}
	return o.Secrets.strip(l)
}

// NewLetter makes a letter of a request, for an [Outbox]. It reads the body and
// closes it; one above the cap is refused with [ErrTooLarge]. The request is not
// changed; if it has no idempotency key the letter gets one.
func NewLetter(req *http.Request, o RequestOptions) (Letter, error) {
	if req.URL == nil {
		return Letter{}, errors.New("make a letter of a request without a URL")
	}
	body, err := readBody(req, o.maxBody())
	if err != nil {
		return Letter{}, err
	}
	if body.more != nil {
		return Letter{}, errors.Join(fmt.Errorf("make a letter of %s %s: %w", req.Method, req.URL.Host, ErrTooLarge), body.more.Close())
	}
	l, _ := o.envelope(req, time.Now())
	l.Body = body.start
	if err := l.Validate(); err != nil {
		return Letter{}, fmt.Errorf("make a letter of %s %s: %w", req.Method, req.URL.Host, err)
	}
	return l, nil
}

// Request makes the request that an HTTP letter stands for, with its key and the
// trace it had.
func (l *Letter) Request(ctx context.Context) (*http.Request, error) {
	if l.Protocol != call.HTTP.String() {
		return nil, fmt.Errorf("send letter %s: it is of protocol %s, not http", l.ID, l.Protocol)
	}
	if l.Incomplete {
		return nil, fmt.Errorf("send letter %s: %w", l.ID, ErrIncomplete)
	}
	var body io.Reader
	if len(l.Body) > 0 {
		body = bytes.NewReader(l.Body)
	}
	req, err := http.NewRequestWithContext(ctx, l.Method, l.URL, body)
	if err != nil {
		return nil, fmt.Errorf("send letter %s: %w", l.ID, err)
	}
	if l.Header != nil {
		req.Header = l.Header.Clone()
	}
	for name, v := range l.Trace {
		req.Header.Set(name, v)
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	req.Header.Set(KeyHeader, l.Key)
	return req, nil
}

func (o RequestOptions) maxBody() int {
	if o.MaxBody > 0 {
		return o.MaxBody
	}
	return defaultMaxBody
}

// envelope writes down all but the body, and tells the secrets that it left out.
func (o RequestOptions) envelope(req *http.Request, now time.Time) (l Letter, secrets []string) {
	now = now.UTC().Round(0)
	u, removedParams, params := o.Secrets.url(req.URL)
	h, removed, values := o.Secrets.header(req.Header)
	l = Letter{
		ID: NewID(now), State: Waiting,
		Protocol: call.HTTP.String(), Service: req.URL.Hostname(), Method: req.Method, URL: u.String(),
		Header: h, Removed: append(removed, removedParams...),
		Key: req.Header.Get(KeyHeader), Labels: o.Labels, Created: now,
	}
	if l.Method == "" {
		l.Method = http.MethodGet
	}
	if l.Key == "" {
		l.Key = keyBefore(req)
	}
	if req.Host != "" && req.Host != req.URL.Host {
		if l.Header == nil {
			l.Header = http.Header{}
		}
		l.Header.Set("Host", req.Host)
	}
	if o.Keep > 0 {
		l.Expires = now.Add(o.Keep)
	}
	l.Trace = o.trace(req)
	for name := range l.Trace {
		l.Header.Del(name)
	}
	return l, append(values, params...)
}

// keyBefore returns the key of the request that was redirected to this one, or
// the one in the call's options, else a new one.
func keyBefore(req *http.Request) string {
	if req.Response != nil && req.Response.Request != nil {
		if key := req.Response.Request.Header.Get(KeyHeader); key != "" {
			return key
		}
	}
	if key := call.OptionsFrom(req.Context()).Key; key != "" {
		return quote(key)
	}
	return mintKey()
}

func (o RequestOptions) trace(req *http.Request) map[string]string {
	from := http.Header{}
	if o.Trace != nil {
		o.Trace(req.Context(), from)
	}
	for _, name := range []string{"Traceparent", "Tracestate", "Baggage"} {
		if v := req.Header.Get(name); v != "" && len(from[name]) == 0 {
			from.Set(name, v)
		}
	}
	if len(from) == 0 {
		return nil
	}
	t := map[string]string{}
	for name := range from {
		t[strings.ToLower(name)] = strings.ToValidUTF8(from.Get(name), "")
	}
	return t
}

// content is a body that was read up to a limit.
type content struct {
	start []byte
	more  io.ReadCloser // what follows, nil if that was all
}

// readBody reads the request's body up to limit, and closes it if that is all.
func readBody(req *http.Request, limit int) (content, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return content{}, nil
	}
	start, err := io.ReadAll(io.LimitReader(req.Body, int64(limit)+1))
	if err != nil {
		return content{}, errors.Join(fmt.Errorf("read the request's body: %w", err), req.Body.Close())
	}
	if len(start) > limit {
		return content{start: start, more: req.Body}, nil
	}
	_ = req.Body.Close() // read to its end
	return content{start: start}, nil
}
