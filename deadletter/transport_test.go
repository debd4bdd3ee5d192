package deadletter_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/deadletter/deadlettertest"
)

// roundTripper is a function as one.
type roundTripper func(req *http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func newRecorder(t *testing.T, o deadletter.RecorderOptions) *deadletter.Recorder {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	r, err := deadletter.NewRecorder(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fails(reason call.Reason, sent call.Sent, err error) roundTripper {
	return func(req *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
		return nil, &call.Error{
			Service: req.URL.Host, Method: req.Method, Instance: "orders-2", Attempts: 3, Reason: reason, Sent: sent, Err: err,
		}
	}
}

func durable(req *http.Request) *http.Request {
	return req.WithContext(deadletter.With(req.Context(), deadletter.Mark{}))
}

func only(t *testing.T, s deadletter.Sink) deadletter.Letter {
	t.Helper()
	p, err := s.List(t.Context(), deadletter.Query{})
	if err != nil || len(p.Letters) != 1 {
		t.Fatalf("want one letter: %v, %v", p, err)
	}
	return p.Letters[0]
}

func TestKept(t *testing.T) {
	cause := errors.New("connection reset for secret-token-1")
	for name, body := range map[string]func(req *http.Request){
		"with GetBody": func(*http.Request) {},
		"without":      func(req *http.Request) { req.GetBody = nil },
		"of unknown length": func(req *http.Request) {
			req.Body, req.GetBody, req.ContentLength = io.NopCloser(strings.NewReader("body")), nil, -1
		},
		"that the caller has closed over": func(req *http.Request) {
			req.Body, req.GetBody = io.NopCloser(io.MultiReader(strings.NewReader("bo"), strings.NewReader("dy"))), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			sink := new(deadletter.Memory)
			r := newRecorder(t, deadletter.RecorderOptions{Sink: sink, Request: deadletter.RequestOptions{Labels: map[string]string{"a": "1", "b": "1"}}})
			req := post(t, "http://orders/42", "body")
			body(req)
			req.Header.Set("Authorization", "Bearer secret-token-1")
			ctx := deadletter.With(req.Context(), deadletter.Mark{Keep: time.Hour, Labels: map[string]string{"b": "2"}})
			var seen http.Header
			res, err := r.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
				seen = req.Header.Clone()
				return fails(call.Reset, call.SentUnknown, cause)(req)
			})).RoundTrip(req.WithContext(ctx))
			kept, ok := errors.AsType[*deadletter.KeptError](err)
			if !ok || res != nil || !errors.Is(err, cause) {
				t.Fatalf("got %v, %v", res, err)
			}
			if _, ok := errors.AsType[*call.Error](err); !ok || !strings.Contains(err.Error(), "kept as letter "+kept.ID) {
				t.Errorf("got %v", err)
			}
			l := only(t, sink)
			if l.ID != kept.ID || l.State != deadletter.Waiting || string(l.Body) != "body" || l.URL != "http://orders/42" ||
				l.Service != "orders" || l.Reason != "reset" || l.Deliveries != 1 || l.Redrives != 0 || l.Incomplete ||
				!l.Expires.Equal(l.Created.Add(time.Hour)) || l.Labels["a"] != "1" || l.Labels["b"] != "2" {
				t.Errorf("kept %v: %+v", l, l.Labels)
			}
			if a := l.Attempts[0]; a.Instance != "orders-2" || a.Tries != 3 || a.At.IsZero() || a.Sent != "sent, result unknown" {
				t.Errorf("attempt %+v", a)
			}
			if strings.Contains(l.Error, "secret-token-1") || l.Header.Get("Authorization") != "" {
				t.Errorf("the secret is kept: %q, %v", l.Error, l.Header)
			}
			if seen.Get("Idempotency-Key") != l.Key || l.Key == "" || seen.Get("Authorization") == "" {
				t.Errorf("sent with the key %q, kept with %q", seen.Get("Idempotency-Key"), l.Key)
			}
			if req.Header.Get("Idempotency-Key") != "" {
				t.Error("the caller's request was changed")
			}
		})
	}
}

func TestNotKept(t *testing.T) {
	plain := errors.New("plain")
	for name, test := range map[string]struct {
		o    deadletter.RecorderOptions
		req  func(req *http.Request) *http.Request
		base roundTripper
		kept bool
	}{
		"durable":                {req: durable, base: fails(call.Unreachable, call.NotSent, plain), kept: true},
		"not marked":             {base: fails(call.Unreachable, call.NotSent, plain)},
		"all":                    {o: deadletter.RecorderOptions{All: true}, base: fails(call.Unreachable, call.NotSent, plain), kept: true},
		"all but what is safe":   {o: deadletter.RecorderOptions{All: true}, req: method(http.MethodGet), base: fails(call.Unreachable, call.NotSent, plain)},
		"all but what is off":    {o: deadletter.RecorderOptions{All: true}, req: off, base: fails(call.Unreachable, call.NotSent, plain)},
		"refused by the library": {req: durable, base: fails(call.Rejected, call.NotSent, plain), kept: true},
		"out of time":            {req: durable, base: fails(call.Expired, call.SentUnknown, context.DeadlineExceeded), kept: true},
		"canceled":               {req: durable, base: fails(call.Canceled, call.SentUnknown, context.Canceled)},
		"canceled, by option": {
			o: deadletter.RecorderOptions{KeepCanceled: true}, req: durable,
			base: fails(call.Canceled, call.SentUnknown, context.Canceled), kept: true,
		},
		"an error of another kind": {req: durable, base: func(*http.Request) (*http.Response, error) { return nil, plain }},
		"an error of another kind, by option": {
			o:   deadletter.RecorderOptions{Final: func(_ *http.Response, err error) bool { return err != nil }},
			req: durable, base: func(*http.Request) (*http.Response, error) { return nil, plain }, kept: true,
		},
		"200": {req: durable, base: answers(200)},
		"404": {req: durable, base: answers(404)},
		"429": {req: durable, base: answers(429), kept: true},
		"500": {req: durable, base: answers(500), kept: true},
		"503": {req: durable, base: answers(503), kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			sink := new(deadletter.Memory)
			test.o.Sink = sink
			req := post(t, "http://orders/42", "body")
			if test.req != nil {
				req = test.req(req)
			}
			res, err := newRecorder(t, test.o).Transport(test.base).RoundTrip(req)
			_, kept := errors.AsType[*deadletter.KeptError](err)
			if n := left(t, sink)[deadletter.Waiting]; kept != test.kept || (n == 1) != test.kept {
				t.Errorf("got %v, %v, and %d letters", res, err, n)
			}
			if (res == nil) == (err == nil) {
				t.Errorf("got %v and %v", res, err)
			}
		})
	}
}

func method(m string) func(req *http.Request) *http.Request {
	return func(req *http.Request) *http.Request {
		req.Method = m
		return req
	}
}

func off(req *http.Request) *http.Request {
	return req.WithContext(deadletter.With(req.Context(), deadletter.Mark{Off: true}))
}

func answers(status int) roundTripper {
	return func(req *http.Request) (*http.Response, error) {
		_ = req.Body.Close()
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("answer")), Request: req}, nil
	}
}

// The call's own time is often what has just run out: that must not keep the
// letter from being kept.
func TestKeptAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(deadletter.Memory)
		r := newRecorder(t, deadletter.RecorderOptions{Sink: sink})
		ctx, cancel := context.WithTimeout(deadletter.With(t.Context(), deadletter.Mark{}), time.Second)
		defer cancel()
		_, err := r.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, &call.Error{Reason: call.Expired, Err: req.Context().Err()}
		})).RoundTrip(post(t, "http://orders/42", "body").WithContext(ctx))
		if _, ok := errors.AsType[*deadletter.KeptError](err); !ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if l := only(t, sink); l.Attempts[0].Took != time.Second {
			t.Errorf("it took %v", l.Attempts[0].Took)
		}
	})
}

// A sink that hangs or fails: the caller learns both, within bounded time.
func TestNeitherDeliveredNorKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("unreachable")
		began := time.Now()
		r := newRecorder(t, deadletter.RecorderOptions{Sink: hanging{}, Patience: time.Second})
		_, err := r.Transport(fails(call.Unreachable, call.NotSent, cause)).RoundTrip(durable(post(t, "http://orders/42", "body")))
		if _, kept := errors.AsType[*deadletter.KeptError](err); kept || !errors.Is(err, cause) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

type hanging struct{ deadletter.Sink }

func (hanging) Put(ctx context.Context, _ deadletter.Letter) error {
	<-ctx.Done()
	return ctx.Err()
}

// What can never be sent is no letter.
func TestInvalidIsNotKept(t *testing.T) {
	sink := new(deadletter.Memory)
	req := durable(post(t, "http://orders/42", "body"))
	req.Header["X-Bad"] = []string{"a\nb"}
	_, err := newRecorder(t, deadletter.RecorderOptions{Sink: sink}).Transport(fails(call.Rejected, call.NotSent, errors.New("bad header"))).RoundTrip(req)
	if _, kept := errors.AsType[*deadletter.KeptError](err); kept || err == nil || !strings.Contains(err.Error(), "bad header") || len(left(t, sink)) != 0 {
		t.Errorf("got %v", err)
	}
}

func TestLongBodyIsSentWhole(t *testing.T) {
	whole := strings.Repeat("0123456789", 100)
	for name, get := range map[string]bool{"with GetBody": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			sink := new(deadletter.Memory)
			r := newRecorder(t, deadletter.RecorderOptions{Sink: sink, Request: deadletter.RequestOptions{MaxBody: 15}})
			req := durable(post(t, "http://orders/42", whole))
			if !get {
				req.GetBody = nil
			}
			_, err := r.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
				got, err := io.ReadAll(req.Body)
				if string(got) != whole || err != nil || req.ContentLength != int64(len(whole)) {
					t.Errorf("sent %q, %v, of length %d", got, err, req.ContentLength)
				}
				return nil, &call.Error{Reason: call.Reset, Err: io.EOF}
			})).RoundTrip(req)
			kept, ok := errors.AsType[*deadletter.KeptError](err)
			if !ok || !kept.Incomplete || !strings.Contains(err.Error(), "but for the end of its body") {
				t.Errorf("got %v", err)
			}
			if l := only(t, sink); !l.Incomplete || l.State != deadletter.Parked || string(l.Body) != whole[:15] {
				t.Errorf("kept %v with %q", l, l.Body)
			}
		})
	}
}

func TestBrokenBodyIsTheCallersFault(t *testing.T) {
	sink := new(deadletter.Memory)
	broken := errors.New("broken")
	req := durable(post(t, "http://orders/42", ""))
	req.Body, req.GetBody = io.NopCloser(failing{broken}), nil
	_, err := newRecorder(t, deadletter.RecorderOptions{Sink: sink}).Transport(roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("it was sent")
		return nil, broken
	})).RoundTrip(req)
	if !errors.Is(err, broken) || len(left(t, sink)) != 0 {
		t.Errorf("got %v", err)
	}
}

// The key is the same where a request is redirected to.
func TestKeySurvivesRedirects(t *testing.T) {
	var keys []string
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		if r.URL.Path != "/end" {
			http.Redirect(w, r, "/end", http.StatusPermanentRedirect)
		}
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	r := newRecorder(t, deadletter.RecorderOptions{Sink: new(deadletter.Memory), All: true})
	base := &http.Transport{}
	client := &http.Client{Transport: r.Transport(base)}
	defer client.CloseIdleConnections()
	res, err := client.Do(post(t, srv.URL, "body"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if len(keys) != 2 || keys[0] == "" || keys[0] != keys[1] {
		t.Errorf("keys: %q", keys)
	}
}

func TestKeepOfOtherProtocols(t *testing.T) {
	sink := new(deadletter.Memory)
	r := newRecorder(t, deadletter.RecorderOptions{Sink: sink, Request: deadletter.RequestOptions{MaxBody: 4}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cause := &call.Error{Service: "pay", Reason: call.Expired, Err: errors.New("late for Bearer abcdefgh")}
	l := deadletter.Letter{
		Protocol: "grpc", Service: "pay", Method: "/pay.Pay/Charge", Key: "k", Body: []byte("1234"),
		Header: http.Header{"authorization": {"Bearer abcdefgh"}},
	}
	if _, ok := errors.AsType[*deadletter.KeptError](r.Keep(ctx, l, cause)); !ok {
		t.Error("not kept")
	}
	got := only(t, sink)
	if got.Key != "k" || got.Reason != "expired" || len(got.Header) != 0 || strings.Contains(got.Error, "abcdefgh") {
		t.Errorf("kept %v: %q, %v, %q", got, got.Key, got.Header, got.Error)
	}
	l.Body = []byte("12345")
	if kept, ok := errors.AsType[*deadletter.KeptError](r.Keep(ctx, l, cause)); !ok || !kept.Incomplete {
		t.Error("a long body is not told")
	}
}

func TestHTTPSender(t *testing.T) {
	var seen *http.Request
	var body []byte
	var answer atomic.Int64
	answer.Store(200)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		got, _ := io.ReadAll(r.Body)
		body = got
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(int(answer.Load()))
	}))
	defer srv.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	// What sends letters may itself keep what fails: not these.
	sink := new(deadletter.Memory)
	r := newRecorder(t, deadletter.RecorderOptions{Sink: sink, All: true})
	s := deadletter.HTTPSender{
		Client:  &http.Client{Transport: r.Transport(base)},
		Prepare: func(req *http.Request) error { req.Header.Set("Authorization", "fresh"); return nil },
	}
	l := deadlettertest.Letter(1)
	l.URL, l.Trace = srv.URL+"/42?a=b", map[string]string{"traceparent": "t"}
	if err := s.Send(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if seen.Method != http.MethodPost || seen.RequestURI != "/42?a=b" || !bytes.Equal(body, l.Body) || seen.Header.Get("Authorization") != "fresh" ||
		seen.Header.Get("Idempotency-Key") != l.Key || seen.Header.Get("Traceparent") != "t" {
		t.Errorf("received %s %s %v %q", seen.Method, seen.RequestURI, seen.Header, body)
	}
	for status, want := range map[int]string{
		204: "delivered", 304: "delivered", 400: "poison", 401: "poison", 404: "poison", 408: "failed", 409: "failed", 422: "poison",
		425: "failed", 429: "failed", 500: "failed", 503: "failed",
	} {
		answer.Store(int64(status))
		err := s.Send(t.Context(), l)
		got := "delivered"
		if e, ok := errors.AsType[*deadletter.StatusError](err); ok {
			if got = "failed"; e.Status != status || e.RetryAfter != 7*time.Second {
				t.Errorf("%d: %+v", status, e)
			}
		}
		if errors.Is(err, deadletter.ErrPoison) {
			got = "poison"
		}
		if got != want {
			t.Errorf("%d: %s, %v; want %s", status, got, err, want)
		}
	}
	if len(left(t, sink)) != 0 {
		t.Errorf("letters about letters: %v", left(t, sink))
	}
	s.Prepare = func(*http.Request) error { return io.ErrNoProgress }
	if err := s.Send(t.Context(), l); !errors.Is(err, io.ErrNoProgress) || errors.Is(err, deadletter.ErrPoison) {
		t.Errorf("no credentials: %v", err)
	}
	if err := (deadletter.HTTPSender{}).Send(t.Context(), l); err == nil {
		t.Error("sent without a client")
	}
	l.Incomplete = true
	if err := s.Send(t.Context(), l); !errors.Is(err, deadletter.ErrIncomplete) || !errors.Is(err, deadletter.ErrPoison) {
		t.Errorf("an incomplete letter: %v", err)
	}
}

func TestRecorderOptions(t *testing.T) {
	_, err := deadletter.NewRecorder(deadletter.RecorderOptions{Patience: -1, Request: deadletter.RequestOptions{MaxBody: -1}})
	for _, field := range []string{"Sink", "Patience", "Request.MaxBody"} {
		if err == nil || !strings.Contains(err.Error(), field+" is") {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}

func TestMarks(t *testing.T) {
	if _, ok := deadletter.MarkFrom(t.Context()); ok {
		t.Error("a mark from nowhere")
	}
	ctx := deadletter.With(deadletter.With(t.Context(), deadletter.Mark{Keep: time.Hour}), deadletter.Mark{Off: true})
	if m, ok := deadletter.MarkFrom(ctx); !ok || !m.Off || m.Keep != 0 {
		t.Errorf("got %+v", m)
	}
}
