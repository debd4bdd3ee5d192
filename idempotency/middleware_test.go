package idempotency_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/idempotency"
)

// shop is a guarded handler and how often it ran.
type shop struct {
	*testing.T
	http.Handler

	guard *idempotency.Guard
	runs  atomic.Int32
}

func open(t *testing.T, o idempotency.Options, handle http.HandlerFunc) *shop {
	t.Helper()
	if o.Store == nil {
		o.Store = memory(t, idempotency.MemoryOptions{})
	}
	g, err := idempotency.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{T: t, guard: g}
	s.Handler = g.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.runs.Add(1)
		handle(w, r)
	}))
	return s
}

func ordered(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Location", "/orders/1")
	w.Header().Add("Vary", "Accept")
	w.Header().Add("Vary", "Cookie")
	w.Header().Set("Set-Cookie", "session=secret")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(append([]byte("ordered "), body...))
}

func post(key, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/orders?b=2&a=1", strings.NewReader(body))
	if key != "" {
		r.Header.Set(idempotency.Header, key)
	}
	return r
}

func (s *shop) ask(r *http.Request) *http.Response {
	s.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r.WithContext(s.Context()))
	return w.Result()
}

// want asks, and compares status, marker and a part of the body.
func (s *shop) want(r *http.Request, status int, replayed bool, part string) *http.Response {
	s.Helper()
	res := s.ask(r)
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != status || (res.Header.Get(idempotency.ReplayedHeader) == "true") != replayed || !strings.Contains(string(body), part) {
		s.Errorf("got %d, replayed %q, %q; want %d, replayed %v, %q",
			res.StatusCode, res.Header.Get(idempotency.ReplayedHeader), body, status, replayed, part)
	}
	return res
}

func (s *shop) ran(want int32) {
	s.Helper()
	if n := s.runs.Load(); n != want {
		s.Errorf("the handler ran %d times, want %d", n, want)
	}
}

func TestRepeatGetsTheFirstAnswer(t *testing.T) {
	s := open(t, idempotency.Options{}, ordered)
	first := s.want(post("k", "pen"), 201, false, "ordered pen")
	if first.Header.Get("Set-Cookie") == "" {
		t.Error("the first did not get its cookie")
	}
	for range 2 {
		repeat := s.want(post(`"k"`, "pen"), 201, true, "ordered pen")
		want := http.Header{"Location": {"/orders/1"}, "Vary": {"Accept", "Cookie"}, "Idempotent-Replayed": {"true"}}
		repeat.Header.Del("Content-Type") // guessed from the body
		if diff := cmp.Diff(want, repeat.Header); diff != "" {
			t.Errorf("headers of the repeat (+): %s", diff)
		}
	}
	s.ran(1)
	s.want(post("other", "pen"), 201, false, "ordered pen")
	s.ran(2)
	if got := s.guard.Stats(); got.First != 2 || got.Replayed != 2 {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsGuarded(t *testing.T) {
	s := open(t, idempotency.Options{}, ordered)
	s.want(post("", "pen"), 201, false, "ordered")
	s.want(post("", "pen"), 201, false, "ordered")
	s.ran(2)
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodGet} {
		r := post("k", "")
		r.Method = method
		s.want(r, 201, false, "")
		s.want(r, 201, false, "")
	}
	s.ran(8)
	patch := post("k", "pen")
	patch.Method = http.MethodPatch
	s.want(patch, 201, false, "")
	r := post("k", "pen")
	r.Method = http.MethodPatch
	s.want(r, 201, true, "")
	s.ran(9)

	s = open(t, idempotency.Options{HTTP: idempotency.HTTPOptions{Require: true, Methods: []string{http.MethodPut}}}, ordered)
	s.want(post("", "pen"), 201, false, "ordered")
	put := post("", "pen")
	put.Method = http.MethodPut
	s.want(put, 400, false, "key-required")
	s.ran(1)
	if got := s.guard.Stats().NoKey; got != 1 {
		t.Errorf("%d without a key", got)
	}
}

func TestBadKeys(t *testing.T) {
	s := open(t, idempotency.Options{}, ordered)
	for _, key := range []string{strings.Repeat("k", 256), "a b", `"open`, "sch\xfcssel", `""`} {
		res := s.want(post(key, ""), 400, false, "key-invalid")
		if ct := res.Header.Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("content type %s", ct)
		}
	}
	two := post("a", "")
	two.Header.Add(idempotency.Header, "a")
	s.want(two, 400, false, "there are 2")
	empty := post("a", "")
	empty.Header.Set(idempotency.Header, "")
	s.want(empty, 400, false, "it is empty")
	s.ran(0)
	if got := s.guard.Stats().Malformed; got != 7 {
		t.Errorf("%d malformed", got)
	}
}

func TestAnotherRequestWithTheSameKey(t *testing.T) {
	s := open(t, idempotency.Options{MaxRequest: 10}, ordered)
	s.want(post("k", "pen"), 201, false, "")
	s.want(post("k", "book"), 422, false, "mismatch")
	query := post("k", "pen")
	query.URL.RawQuery = "a=1&b=3"
	s.want(query, 422, false, "mismatch")
	same := post("k", "pen")
	same.URL.RawQuery = "a=1&b=2" // in another order
	s.want(same, 201, true, "")
	s.ran(1)

	elsewhere := post("k", "pen")
	elsewhere.URL.Path = "/payments"
	s.want(elsewhere, 201, false, "") // another route is another operation
	s.ran(2)

	// Of a large one its beginning and its length count.
	s.want(post("large", "0123456789abc"), 201, false, "0123456789abc")
	s.want(post("large", "0123456789xyz"), 201, true, "0123456789abc")
	s.want(post("large", "0123456789abcd"), 422, false, "mismatch")
	s.want(post("large", "012345678Xabc"), 422, false, "mismatch")
	s.want(post("large", "0123456789"), 422, false, "mismatch")
	s.ran(3)
	if got := s.guard.Stats().Mismatches; got != 5 {
		t.Errorf("%d mismatches", got)
	}
}

func TestCallersAreApart(t *testing.T) {
	as := func(id string) *http.Request {
		r := post("k", "pen")
		u, err := url.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		leaf := &x509.Certificate{URIs: []*url.URL{u}}
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf}}}
		return r
	}
	s := open(t, idempotency.Options{}, ordered)
	s.want(as("spiffe://d/a"), 201, false, "")
	s.want(as("spiffe://d/b"), 201, false, "")
	s.want(as("spiffe://d/a"), 201, true, "")
	unverified := as("spiffe://d/a")
	unverified.TLS.VerifiedChains = nil
	s.want(unverified, 201, false, "") // whoever he is, not a
	s.ran(3)

	s = open(t, idempotency.Options{HTTP: idempotency.HTTPOptions{
		Caller: func(r *http.Request) string { return r.Header.Get("Tenant") },
		Route:  func(*http.Request) string { return "orders" },
	}}, ordered)
	r := post("k", "pen")
	r.Header.Set("Tenant", "a")
	s.want(r, 201, false, "")
	s.want(post("k", "pen"), 201, false, "")
	elsewhere := post("k", "pen")
	elsewhere.URL.Path = "/elsewhere"
	s.want(elsewhere, 422, false, "mismatch") // the same route by name
}

func TestWhatIsKept(t *testing.T) {
	var status atomic.Int32
	handle := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }
	s := open(t, idempotency.Options{}, handle)
	for code, kept := range map[int32]bool{
		200: true, 204: true, 302: true, 400: true, 404: true, 409: true, 422: true, 500: true, 502: true, 504: true,
		401: false, 403: false, 405: false, 408: false, 421: false, 425: false, 429: false, 501: false, 503: false,
	} {
		status.Store(code)
		key := idempotency.NewKey()
		s.want(post(key, ""), int(code), false, "")
		s.want(post(key, ""), int(code), kept, "")
	}
	s = open(t, idempotency.Options{Keep: func(p call.Protocol, status int) bool { return p == call.HTTP && status < 500 }}, handle)
	status.Store(500)
	s.want(post("k", ""), 500, false, "")
	s.want(post("k", ""), 500, false, "")
	status.Store(200)
	s.want(post("k", ""), 200, false, "")
	s.want(post("k", ""), 200, true, "")
	if got := s.guard.Stats().Dropped; got != 2 {
		t.Errorf("%d dropped", got)
	}
}

func TestPanicFreesTheKey(t *testing.T) {
	s := open(t, idempotency.Options{}, nil)
	boom := errors.New("boom")
	for _, value := range []any{boom, http.ErrAbortHandler} {
		s.Handler = s.guard.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic(value)
		}))
		func() {
			defer func() {
				if p := recover(); p != value {
					t.Errorf("recovered %v", p)
				}
			}()
			w := httptest.NewRecorder()
			defer func() {
				if w.Body.Len() > 0 {
					t.Error("half an answer was sent")
				}
			}()
			s.ServeHTTP(w, post("k", "pen"))
		}()
	}
	s.Handler = s.guard.Middleware(http.HandlerFunc(ordered))
	s.want(post("k", "pen"), 201, false, "ordered pen")
}

func TestRepeatWaitsForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, idempotency.Options{}, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(10 * time.Second)
			ordered(w, r)
		})
		start := time.Now()
		answers := make(chan *http.Response)
		for range 5 {
			go func() { answers <- s.ask(post("k", "pen")) }()
		}
		replayed := 0
		for range 5 {
			res := <-answers
			if res.StatusCode != http.StatusCreated {
				t.Errorf("got %d", res.StatusCode)
			}
			if res.Header.Get(idempotency.ReplayedHeader) != "" {
				replayed++
			}
		}
		if took := time.Since(start); replayed != 4 || took != 10*time.Second {
			t.Errorf("%d replayed after %v, want 4 at the very end of the first", replayed, took)
		}
		s.ran(1)
		if got := s.guard.Stats(); got.Waited != 4 || got.Replayed != 4 {
			t.Errorf("%+v", got)
		}
	})
}

func TestRepeatIsToldThatTheFirstRuns(t *testing.T) {
	for name, c := range map[string]struct {
		o       idempotency.Options
		timeout time.Duration
		after   time.Duration
	}{
		"at once, if told so":    {idempotency.Options{Wait: -1, RetryAfter: 1500 * time.Millisecond}, time.Hour, 0},
		"when it waited enough":  {idempotency.Options{Wait: 3 * time.Second}, time.Hour, 3 * time.Second},
		"when its time was over": {idempotency.Options{}, 2 * time.Second, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, c.o, func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(time.Minute)
					ordered(w, r)
				})
				first := make(chan *http.Response)
				go func() { first <- s.ask(post("k", "pen")) }()
				synctest.Wait()
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), c.timeout)
				defer cancel()
				w := httptest.NewRecorder()
				s.ServeHTTP(w, post("k", "pen").WithContext(ctx))
				if w.Code != 409 || !strings.Contains(w.Body.String(), "idempotency:running") {
					t.Errorf("got %d %s", w.Code, w.Body)
				}
				want := "1"
				if c.o.RetryAfter > 0 {
					want = "2"
				}
				if got := w.Header().Get("Retry-After"); got != want {
					t.Errorf("Retry-After %q, want %q", got, want)
				}
				if took := time.Since(start); took != c.after {
					t.Errorf("after %v, want %v", took, c.after)
				}
				if res := <-first; res.StatusCode != http.StatusCreated {
					t.Errorf("the first got %d", res.StatusCode)
				}
				s.ran(1)
			})
		})
	}
}

func TestWaitingRepeatTakesOverWhatHadNoEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, idempotency.Options{}, nil)
		s.Handler = s.guard.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := s.runs.Add(1)
			time.Sleep(time.Second)
			if n == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			ordered(w, r)
		}))
		answers := make(chan int)
		for range 3 {
			go func() { answers <- s.ask(post("k", "pen")).StatusCode }()
		}
		got := map[int]int{}
		for range 3 {
			got[<-answers]++
		}
		if diff := cmp.Diff(map[int]int{503: 1, 201: 2}, got); diff != "" {
			t.Error(diff)
		}
		s.ran(2)
	})
}

func TestAnswerThatIsTooLarge(t *testing.T) {
	s := open(t, idempotency.Options{MaxResponse: 100}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/orders/1")
		w.WriteHeader(http.StatusCreated)
		for range 10 {
			if _, err := io.WriteString(w, strings.Repeat("x", 30)); err != nil {
				t.Error(err)
			}
		}
	})
	res := s.want(post("k", ""), 201, false, strings.Repeat("x", 300))
	if res.Header.Get("Location") == "" {
		t.Error("headers were lost")
	}
	res = s.want(post("k", ""), 422, false, "its status was 201")
	if res.Header.Get("Retry-After") != "" {
		t.Error("to come again will not help")
	}
	s.ran(1)
	if got := s.guard.Stats().NotKept; got != 1 {
		t.Errorf("%d not kept", got)
	}
}

// A repeat's own outer middleware speaks for itself; what the handler has
// changed of it is the handler's.
func TestHeaders(t *testing.T) {
	s := open(t, idempotency.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("X-Handler", "1")
		h.Set("X-Changed", "by the handler")
		h.Del("X-Removed")
		h.Set("Connection", "close, X-Hop")
		h.Set("X-Hop", "1")
		h.Set("Date", "then")
		h.Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusAccepted)
		h.Set("X-Late", "1") // too late for a header
		_, _ = io.WriteString(w, "ok")
		h.Set("X-Sum", "42")
		w.WriteHeader(http.StatusTeapot) // superfluous
	})
	guarded := s.Handler
	n := 0
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("X-Request-ID", []string{"", "first", "second"}[n])
		w.Header().Set("X-Changed", "outside")
		w.Header().Set("X-Removed", "outside")
		guarded.ServeHTTP(w, r)
	})
	first := s.want(post("k", ""), 202, false, "ok")
	for k, want := range map[string]string{
		"X-Handler": "1", "X-Changed": "by the handler", "X-Removed": "", "X-Hop": "1", "Date": "then",
		"X-Late": "", "X-Request-ID": "first",
	} {
		if got := first.Header.Get(k); got != want {
			t.Errorf("first: %s is %q, want %q", k, got, want)
		}
	}
	if got := first.Trailer.Get("X-Sum"); got != "42" {
		t.Errorf("the trailer is %q", got)
	}
	repeat := s.want(post("k", ""), 202, true, "ok")
	for k, want := range map[string]string{
		"X-Handler": "1", "X-Changed": "by the handler", "X-Hop": "", "Connection": "", "Date": "", "Trailer": "",
		"X-Late": "", "X-Request-ID": "second",
	} {
		if got := repeat.Header.Get(k); got != want {
			t.Errorf("repeat: %s is %q, want %q", k, got, want)
		}
	}
}

func TestFlushedAnswerGoesAtOnceAndIsKept(t *testing.T) {
	flushed, proceed := make(chan struct{}), make(chan struct{})
	s := open(t, idempotency.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one ")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		close(flushed)
		<-proceed
		_, _ = io.WriteString(w, "two")
		w.(http.Flusher).Flush()
	})
	srv := httptest.NewServer(s)
	defer srv.Close()
	req := post("k", "")
	req.RequestURI, req.URL = "", must(url.Parse(srv.URL+"/"))
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	<-flushed
	part := make([]byte, 4)
	if _, err := io.ReadFull(res.Body, part); err != nil || string(part) != "one " {
		t.Errorf("before the handler ended: %q, %v", part, err)
	}
	close(proceed)
	rest, err := io.ReadAll(res.Body)
	if err != nil || string(rest) != "two" {
		t.Errorf("then: %q, %v", rest, err)
	}
	res.Body.Close()
	again := post("k", "")
	again.URL.Path, again.URL.RawQuery = "/", ""
	s.want(again, 200, true, "one two")
}

func TestHijackedIsNotGuarded(t *testing.T) {
	s := open(t, idempotency.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, err := w.Write(nil); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("write: %v", err)
		}
		_, _ = buf.WriteString("HTTP/1.1 204 No Content\r\n\r\n")
		_ = buf.Flush()
	})
	srv := httptest.NewServer(s)
	defer srv.Close()
	for range 2 {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != http.StatusNoContent {
			t.Fatalf("got %v, %v", res, err)
		}
		conn.Close()
	}
	srv.Close()
	s.ran(2)
}

func TestOutcomeOfAClientThatHungUpIsKept(t *testing.T) {
	began, left := make(chan struct{}), make(chan struct{})
	s := open(t, idempotency.Options{}, func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-left
		if err := r.Context().Err(); err != nil {
			t.Errorf("the handler's context ended with its client: %v", err)
		}
		if got := idempotency.KeyFrom(r.Context()); got != "k" {
			t.Errorf("the handler knows key %q", got)
		}
		ordered(w, r)
	})
	ended := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stop := context.AfterFunc(r.Context(), func() { close(left) })
		defer stop()
		defer close(ended)
		s.ServeHTTP(w, r)
	}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+"/orders?b=2&a=1", strings.NewReader("pen"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(idempotency.Header, "k")
	if _, err := srv.Client().Do(req); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	<-ended
	s.want(post("k", "pen"), 201, true, "ordered pen")
	s.ran(1)
}

func TestLinger(t *testing.T) {
	for name, c := range map[string]struct {
		linger time.Duration
		want   time.Duration
	}{"default": {0, 31 * time.Second}, "five seconds": {5 * time.Second, 6 * time.Second}, "not at all": {-1, time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				s := open(t, idempotency.Options{Linger: c.linger}, func(_ http.ResponseWriter, r *http.Request) {
					<-r.Context().Done()
					if took := time.Since(start); took != c.want {
						t.Errorf("the handler's context ended after %v, want %v", took, c.want)
					}
					if cause := context.Cause(r.Context()); !errors.Is(cause, context.DeadlineExceeded) {
						t.Errorf("because of %v", cause)
					}
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				s.ServeHTTP(httptest.NewRecorder(), post("k", "").WithContext(ctx))
				s.want(post("k", ""), 200, true, "")
			})
		})
	}
}

func TestBrokenBody(t *testing.T) {
	s := open(t, idempotency.Options{MaxRequest: 10}, ordered)
	broken := post("k", "")
	broken.Body = io.NopCloser(io.MultiReader(strings.NewReader("pe"), failing{}))
	s.want(broken, 400, false, "request-broken")
	s.ran(0)
	large := post("k", "")
	large.Body = http.MaxBytesReader(httptest.NewRecorder(), io.NopCloser(strings.NewReader("pencil")), 3)
	s.want(large, 413, false, "at most 3 bytes")
	s.ran(0)
	// It breaks behind what was read for the fingerprint: the handler's complaint
	// is not the outcome.
	late := post("k", "")
	late.Body = io.NopCloser(io.MultiReader(strings.NewReader("0123456789abc"), failing{}))
	s.want(late, 400, false, "broken off")
	whole := post("k", "0123456789abcdef")
	whole.ContentLength = -1
	s.want(whole, 201, false, "0123456789abcdef")
	s.ran(2)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken off") }

func TestProblem(t *testing.T) {
	s := open(t, idempotency.Options{}, ordered)
	s.want(post("k", "pen"), 201, false, "")
	res := s.ask(post("k", "book"))
	var got map[string]any
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"type": "urn:innermesh:idempotency:mismatch", "status": 422., "title": idempotency.ErrMismatch.Error(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
