package consul

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// request is what the fake agent was asked.
type request struct {
	at    time.Duration // since the fake was made
	path  string
	query url.Values
	token string
	sent  string // method and body
}

func (r request) index() uint64 {
	n, _ := strconv.ParseUint(r.query.Get("index"), 10, 64)
	return n
}

// fake is an agent as a RoundTripper, so that it may live in a synctest bubble.
type fake struct {
	answer func(n int, r request) reply // n counts from 1

	mu       sync.Mutex
	start    time.Time
	requests []request
	open     int // requests under way
}

// reply is an answer and when it comes.
type reply struct {
	after  time.Duration
	status int
	index  string
	body   string
	header map[string]string
	err    error
	broken bool // the body ends too early
}

// forever is an answer that never comes.
var forever = reply{after: 1000 * time.Hour}

// unchanged answers as a quiet server does: at once if there is nothing to wait
// for, else after the whole wait.
func unchanged(r request, index uint64, body string) reply {
	wait, _ := time.ParseDuration(r.query.Get("wait"))
	if r.index() < index {
		wait = 0
	}
	return reply{after: wait, index: strconv.FormatUint(index, 10), body: body}
}

func (f *fake) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	if f.start.IsZero() {
		f.start = time.Now()
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		f.mu.Unlock()
		return nil, err
	}
	r := request{
		at: time.Since(f.start), path: req.URL.Path, query: req.URL.Query(), token: req.Header.Get("X-Consul-Token"),
		sent: strings.TrimSpace(req.Method + " " + string(body)),
	}
	f.requests = append(f.requests, r)
	n := len(f.requests)
	f.open++
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.open--; f.mu.Unlock() }()

	a := f.answer(n, r)
	if !sleep(req.Context(), a.after) {
		return nil, req.Context().Err()
	}
	if a.err != nil {
		return nil, a.err
	}
	resp := &http.Response{StatusCode: a.status, Header: http.Header{}, Request: req}
	if resp.StatusCode == 0 {
		resp.StatusCode = http.StatusOK
	}
	if a.index != "" {
		resp.Header.Set("X-Consul-Index", a.index)
	}
	for name, value := range a.header {
		resp.Header.Set(name, value)
	}
	resp.Body = io.NopCloser(strings.NewReader(a.body))
	if a.broken {
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(a.body), brokenReader{}))
	}
	return resp, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (f *fake) seen() []request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]request(nil), f.requests...)
}

// clearEnv keeps the developer's CONSUL_* variables out of a test.
func clearEnv(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"ADDR", "TOKEN", "TOKEN_FILE", "AUTH", "SSL", "SSL_VERIFY",
	} {
		t.Setenv("CONSUL_HTTP_"+name, "")
	}
	for _, name := range []string{"CACERT", "CAPATH", "CLIENT_CERT", "CLIENT_KEY", "TLS_SERVER_NAME", "NAMESPACE", "PARTITION"} {
		t.Setenv("CONSUL_"+name, "")
	}
}

// newClient is New for tests, closed at their end.
func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// bubble runs a test against a fake agent in fake time.
func bubble(t *testing.T, answer func(n int, r request) reply, test func(t *testing.T, f *fake, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: answer}
		test(t, f, newClient(t, Options{Transport: f}))
	})
}

// record watches until the test ends and returns what was told until now.
func record(t *testing.T, c *Client, q Query) func() []Result {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var got []Result
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Watch(ctx, q, func(r Result) { mu.Lock(); got = append(got, r); mu.Unlock() })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return func() []Result {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return append([]Result(nil), got...)
	}
}

// pass lets fake time go by.
func pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

// journal is a log that may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func bodies(results []Result) string {
	var parts []string
	for _, r := range results {
		switch {
		case r.Err != nil:
			parts = append(parts, "error:"+kind(r.Err))
		case !r.Found:
			parts = append(parts, "none")
		case r.Reset:
			parts = append(parts, "reset:"+string(r.Body))
		default:
			parts = append(parts, string(r.Body))
		}
	}
	return strings.Join(parts, " ")
}

func wantTold(t *testing.T, got []Result, want string) {
	t.Helper()
	if b := bodies(got); b != want {
		t.Errorf("told %q, want %q", b, want)
	}
}
