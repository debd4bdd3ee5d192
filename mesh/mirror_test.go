package mesh_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// mirroring copies calls to web, or payments, to shadow.
func mirroring(m policy.Mirror) policy.Service {
	m.Service = "shadow"
	return policy.Service{Mirror: []policy.Mirror{m}}
}

// shadow is an instance that keeps the requests that it gets.
type shadow struct {
	got  chan *seen
	then http.HandlerFunc // may be nil
}

// seen is a request as an instance has seen it.
type seen struct {
	*http.Request
	body string
}

func newShadow() *shadow { return &shadow{got: make(chan *seen, 1000)} }

// ServeHTTP implements [http.Handler].
func (s *shadow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // of what has broken there is a part
	s.got <- &seen{r.Clone(context.WithoutCancel(r.Context())), string(body)}
	if s.then != nil {
		s.then(w, r)
	}
}

// next is the request that comes next.
func (s *shadow) next(t *testing.T) *seen {
	t.Helper()
	select {
	case r := <-s.got:
		return r
	case <-limited(t).Done():
		t.Fatal("no copy has come")
		return nil
	}
}

// What arrives at the mirror is what the instance gets, with a mark and a key of
// its own.
func TestMirrorHTTP(t *testing.T) {
	for _, protocol := range []string{policy.HTTP1, policy.HTTP2} {
		t.Run(protocol, func(t *testing.T) {
			start := web
			if protocol == policy.HTTP2 {
				start = h2cWeb
			}
			calls, copies := newShadow(), newShadow()
			p := mirroring(policy.Mirror{})
			p.HTTP.Protocol = protocol
			p.Routes = []policy.Route{{
				Match: policy.Match{PathPrefix: "/v2/"}, Rewrite: policy.Rewrite{Prefix: "/"},
				RequestHeaders: policy.Headers{Set: map[string]string{"x-way": "this"}},
			}}
			m := newMesh(t, mesh.Options{Discovery: addresses{"web": {start(t, calls.ServeHTTP)}, "shadow": {start(t, copies.ServeHTTP)}}, Defaults: p})
			for name, test := range map[string]struct {
				method string
				body   io.Reader
				length int64
			}{
				"no body":       {http.MethodGet, nil, 0},
				"bytes":         {http.MethodPost, strings.NewReader("some bytes"), 10},
				"stream":        {http.MethodPost, watch("some bytes"), -1},
				"known length":  {http.MethodPut, watch("some bytes"), 10},
				"an empty one":  {http.MethodPost, watch(""), -1},
				"almost large":  {http.MethodPost, bytes.NewReader(make([]byte, 64<<10)), 64 << 10},
				"large, stream": {http.MethodPost, watch(strings.Repeat("x", 64<<10)), -1},
			} {
				t.Run(name, func(t *testing.T) {
					r := request(t, test.method, "http://web/v2/a%2Fb?q=1", test.body)
					r.ContentLength = test.length
					r.Header.Set("Idempotency-Key", `"order-1"`)
					r.Header.Set("X-Own", "1")
					res, err := m.HTTPClient().Do(r)
					if err != nil {
						t.Fatal(err)
					}
					read(t, res)
					a, b := calls.next(t), copies.next(t)
					if a.Method != b.Method || a.RequestURI != b.RequestURI || a.body != b.body || a.Host != b.Host ||
						b.Header.Get("X-Way") != "this" || b.Header.Get("X-Own") != "1" {
						t.Errorf("the copy is %s %s%s, %d bytes, %v\nof %s %s%s, %d bytes", b.Method, b.Host, b.RequestURI, len(b.body), b.Header,
							a.Method, a.Host, a.RequestURI, len(a.body))
					}
					if b.RequestURI != "/a%2Fb?q=1" || b.Header.Get(call.MirroredHeader) != "1" || a.Header.Get(call.MirroredHeader) != "" {
						t.Errorf("%s, marked %q and %q", b.RequestURI, b.Header.Get(call.MirroredHeader), a.Header.Get(call.MirroredHeader))
					}
					one, other := a.Header.Get("Idempotency-Key"), b.Header.Get("Idempotency-Key")
					if one != `"order-1"` || other == one || !strings.Contains(other, "mirror-") {
						t.Errorf("keys %s and %s", one, other)
					}
				})
			}
		})
	}
}

// results waits for as many copies as there are to be counted, and returns what
// became of them.
func results(t *testing.T, reader sdkmetric.Reader, want int64) map[string]int64 {
	t.Helper()
	got := map[string]int64{}
	eventually(t, patience, "all copies are counted", func() bool {
		var all metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		var sum int64
		clear(got)
		for _, scope := range all.ScopeMetrics {
			for _, metric := range scope.Metrics {
				if metric.Name != "innermesh.client.mirrored" {
					continue
				}
				for _, p := range metric.Data.(metricdata.Sum[int64]).DataPoints {
					result, _ := p.Attributes.Value("innermesh.result")
					got[result.AsString()] += p.Value
					sum += p.Value
				}
			}
		}
		return sum == want
	})
	return got
}

// metered are options for a mesh whose metrics can be read.
func metered() (mesh.TelemetryOptions, sdkmetric.Reader) {
	reader := sdkmetric.NewManualReader()
	return mesh.TelemetryOptions{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))}, reader
}

// What can not be copied is left out, and counted.
func TestMirrorLeavesOut(t *testing.T) {
	upgrade := request(t, http.MethodGet, "http://web/", nil)
	upgrade.Header.Set("Upgrade", "chat")
	upgrade.Header.Set("Connection", "upgrade")
	endless, end := io.Pipe()
	t.Cleanup(func() { _ = end.Close() })
	for protocol, special := range map[string]*http.Request{
		policy.HTTP1: upgrade,
		policy.HTTP2: request(t, http.MethodPost, "http://web/hasty", endless), // answered before it is sent
	} {
		t.Run(protocol, func(t *testing.T) {
			start := web
			if protocol == policy.HTTP2 {
				start = h2cWeb
			}
			telemetry, reader := metered()
			copies := newShadow()
			p := mirroring(policy.Mirror{MaxBytes: 10})
			p.HTTP.Protocol = protocol
			m := newMesh(t, mesh.Options{
				Telemetry: telemetry, Defaults: p,
				Discovery: addresses{"shadow": {start(t, copies.ServeHTTP)}, "web": {start(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/hasty" {
						_, _ = io.Copy(io.Discard, r.Body)
					}
					ok(w, r)
				})}},
			})
			for _, r := range []*http.Request{
				request(t, http.MethodPost, "http://web/", strings.NewReader("eleven byte")),
				request(t, http.MethodPost, "http://web/", watch("eleven byte")),
				special,
				request(t, http.MethodPost, "http://web/", watch("ten bytes!")),
			} {
				res, err := m.HTTPClient().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				read(t, res)
			}
			if r := copies.next(t); r.body != "ten bytes!" {
				t.Errorf("%q was copied", r.body)
			}
			if got := results(t, reader, 4); got["body"] != 3 || got["ok"] != 1 {
				t.Errorf("%v", got)
			}
		})
	}
}

// split is a base that is real to real instances, and has the mirror as the test
// says.
type split struct {
	mirror func(r *http.Request) (*http.Response, error)
	fails  bool   // the real instances, too
	takes  func() // time, with them
}

// RoundTrip implements [http.RoundTripper].
func (s *split) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Host, "127.0.0.9") {
		return s.mirror(r)
	}
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	if s.takes != nil {
		s.takes()
	}
	if s.fails {
		return nil, errors.New("broken")
	}
	return instant{}.RoundTrip(r)
}

// Whatever the mirror does, the caller gets the same and waits as long, to the
// nanosecond.
func TestMirrorIsNotFelt(t *testing.T) {
	hang := func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }
	for name, test := range map[string]struct {
		mirror  func(r *http.Request) (*http.Response, error)
		at      []string
		timeout time.Duration
	}{
		"fine":    {mirror: instant{}.RoundTrip, at: []string{"127.0.0.9:1"}},
		"hangs":   {mirror: hang, at: []string{"127.0.0.9:1"}},
		"fails":   {mirror: func(*http.Request) (*http.Response, error) { return nil, errors.New("no") }, at: []string{"127.0.0.9:1"}},
		"is full": {mirror: hang, at: []string{"127.0.0.9:1"}, timeout: time.Hour},
		"unknown": {mirror: hang},
		"ill": {mirror: func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{}, Body: io.NopCloser(eof{}), Request: r}, nil
		}, at: []string{"127.0.0.9:1", "127.0.0.9:2"}},
		"endless answer": {mirror: func(r *http.Request) (*http.Response, error) {
			pr, pw := io.Pipe()
			context.AfterFunc(r.Context(), func() { _ = pw.CloseWithError(r.Context().Err()) })
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: pr, Request: r}, nil
		}, at: []string{"127.0.0.9:1"}},
	} {
		for _, fails := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := mirroring(policy.Mirror{Active: 20, Timeout: policy.Duration(test.timeout)})
					p.Retry = policy.Retry{Attempts: 1}
					p.Breaker = policy.Breaker{Open: policy.Off}
					m := newMesh(t, mesh.Options{Discovery: addresses{"web": {"127.0.0.1:1"}, "shadow": test.at}, Defaults: p})
					transport := m.Transport(&split{test.mirror, fails, func() { time.Sleep(3 * time.Millisecond) }})
					for i := range 300 {
						var body io.Reader
						if i%2 == 1 {
							body = watch("body")
						}
						r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://web/", body)
						if err != nil {
							t.Fatal(err)
						}
						began := time.Now()
						res, err := transport.RoundTrip(r)
						if took := time.Since(began); took != 3*time.Millisecond || (err != nil) != fails {
							t.Fatalf("call %d: %v after %v", i, err, took)
						}
						if err == nil {
							read(t, res)
						}
					}
					for _, u := range m.Upstreams() {
						for _, i := range u.Instances {
							if !i.Mirror && (i.Attempts != 300 || (i.Failures != 0) != fails) {
								t.Errorf("%+v", i)
							}
							if u.Retries != 0 {
								t.Errorf("%d retries", u.Retries)
							}
						}
					}
					began := time.Now()
					if err := m.Close(t.Context()); err != nil || time.Since(began) > time.Second {
						t.Errorf("close: %v after %v", err, time.Since(began))
					}
				})
			})
		}
	}
}

// There are never more copies under way than may be, and those beyond are
// counted; each has its own time.
func TestMirrorIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		telemetry, reader := metered()
		var under, most, all atomic.Int32
		m := newMesh(t, mesh.Options{
			Telemetry: telemetry, Discovery: addresses{"web": {"127.0.0.1:1"}, "shadow": {"127.0.0.9:1"}},
			Defaults: mirroring(policy.Mirror{Active: 7, Timeout: policy.Duration(time.Second)}),
		})
		transport := m.Transport(&split{mirror: func(r *http.Request) (*http.Response, error) {
			all.Add(1)
			most.Store(max(most.Load(), under.Add(1)))
			defer under.Add(-1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		}})
		ask := func() {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://web/", nil)
			if err != nil {
				t.Error(err)
				return
			}
			res, err := transport.RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			read(t, res)
		}
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() {
				for range 5 {
					ask()
				}
			})
		}
		callers.Wait()
		synctest.Wait()
		if all.Load() != 7 || most.Load() != 7 {
			t.Errorf("%d copies, %d at once", all.Load(), most.Load())
		}
		time.Sleep(time.Second) // of the bubble: their time is over
		synctest.Wait()
		ask()
		synctest.Wait()
		if all.Load() != 8 || under.Load() != 1 {
			t.Errorf("%d copies, %d under way", all.Load(), under.Load())
		}
		time.Sleep(time.Second)
		if got := results(t, reader, 101); got["expired"] != 8 || got["full"] != 93 {
			t.Errorf("%v", got)
		}
	})
}

// A share of the calls is copied.
func TestMirrorPercent(t *testing.T) {
	var n atomic.Int32
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {web(t, ok)}, "shadow": {web(t, counted(&n, ok))}}, Defaults: mirroring(policy.Mirror{Percent: 25, Active: 10_000}),
	})
	const calls = 1000
	for range calls {
		res, err := page(t, m, "http://web/")
		if err != nil {
			t.Fatal(err)
		}
		read(t, res)
	}
	if err := m.Close(t.Context()); err != nil { // takes along what is under way
		t.Fatal(err)
	}
	if got := n.Load(); got < calls/4-80 || got > calls/4+80 { // nearly six standard deviations
		t.Errorf("%d of %d calls were copied", got, calls)
	}
}

// A mirror of the very instances that are called has a state of its own: it may
// fail as it likes, is not tried again, and trips no breaker of theirs.
func TestMirrorHasItsOwnState(t *testing.T) {
	telemetry, reader := metered()
	var copies, calls atomic.Int32
	addr := web(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(call.MirroredHeader) != "" {
			copies.Add(1)
			unavailable(w, r)
			return
		}
		calls.Add(1)
		ok(w, r)
	})
	m := newMesh(t, mesh.Options{Telemetry: telemetry, Discovery: addresses{"web": {addr}}, Defaults: policy.Service{
		Mirror: []policy.Mirror{{Service: "web"}}, Breaker: policy.Breaker{Failures: 3},
	}})
	for range 20 {
		res, err := page(t, m, "http://web/")
		if err != nil {
			t.Fatal(err)
		}
		read(t, res)
	}
	got := results(t, reader, 20)
	if calls.Load() != 20 || int64(copies.Load()) != got["unavailable"] || got["unavailable"] < 3 {
		t.Errorf("%d calls, %d copies: %v", calls.Load(), copies.Load(), got)
	}
	for _, i := range m.Upstreams()[0].Instances {
		if (i.Failures > 0) != i.Mirror {
			t.Errorf("%+v", i)
		}
	}
}

// What is called to serve a copy is marked, and copied no further.
func TestMirrorEndsWithTheCopy(t *testing.T) {
	var m *mesh.Mesh
	last, copies := newShadow(), newShadow()
	inner := newShadow()
	relay := func() http.Handler {
		return m.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !call.InboundFrom(r.Context()).Mirrored {
				return
			}
			req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://last/", nil)
			if err != nil {
				t.Error(err)
				return
			}
			res, err := m.HTTPClient().Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			_ = res.Body.Close()
		}))
	}
	m = newMesh(t, mesh.Options{
		Discovery: addresses{
			"web": {web(t, func(w http.ResponseWriter, r *http.Request) { relay().ServeHTTP(w, r) })}, "shadow": {web(t, func(w http.ResponseWriter, r *http.Request) { relay().ServeHTTP(w, r); copies.ServeHTTP(w, r) })},
			"last": {web(t, last.ServeHTTP)}, "inner": {web(t, inner.ServeHTTP)},
		},
		Pinned: map[string]policy.Service{
			"web": mirroring(policy.Mirror{}), "last": {Mirror: []policy.Mirror{{Service: "inner"}}},
		},
	})
	res, err := page(t, m, "http://web/")
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	if r := last.next(t); r.Header.Get(call.MirroredHeader) != "1" {
		t.Errorf("the call of a copy has %v", r.Header)
	}
	copies.next(t)
	if res, err = page(t, m, "http://last/"); err != nil { // this one is copied
		t.Fatal(err)
	}
	read(t, res)
	inner.next(t)
	if err := m.Close(t.Context()); err != nil || len(inner.got) != 0 {
		t.Errorf("a copy was copied, or %v", err)
	}
}

// A guard that sees both the call and its copy takes neither for a repeat of the
// other, and a copy leaves no letter.
func TestMirrorPoisonsNoGuard(t *testing.T) {
	recorder, sink := keeping(t, deadletter.RecorderOptions{All: true})
	store, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	guard, err := idempotency.New(idempotency.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	served := newShadow()
	served.then = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(call.MirroredHeader) != "" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, "done")
	}
	telemetry, reader := metered()
	addr := web(t, guard.Middleware(served).ServeHTTP)
	m := newMesh(t, mesh.Options{
		DeadLetters: recorder, Telemetry: telemetry, Discovery: addresses{"web": {addr}},
		Defaults: policy.Service{Mirror: []policy.Mirror{{Service: "web"}}},
	})
	for range 3 { // the same call, three times: carried out once, and so is its copy
		ctx := call.With(t.Context(), call.Options{Key: "order-1"})
		res, err := m.HTTPClient().Do(request(t, http.MethodPost, "http://web/", strings.NewReader("pay")).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		if text := read(t, res); text != "done" || res.StatusCode != http.StatusOK {
			t.Errorf("got %d %q", res.StatusCode, text)
		}
	}
	results(t, reader, 3)
	calls := 0
	for len(served.got) > 0 {
		if r := <-served.got; r.Header.Get(call.MirroredHeader) == "" {
			calls++
		}
	}
	if calls != 1 {
		t.Errorf("carried out %d times", calls)
	}
	if all := letters(t, sink); len(all) != 0 {
		t.Errorf("letters: %v", all)
	}
}

// The mirror proves to be the target, not the name that was called.
func TestMirrorIsSecured(t *testing.T) {
	ca := devCA(t)
	telemetry, reader := metered()
	m := newMesh(t, mesh.Options{
		Telemetry: telemetry, TLS: mesh.TLSOptions{Source: identity(t, ca, "shop")}, Defaults: policy.Service{Mirror: []policy.Mirror{{Service: "shadow"}, {Service: "liar"}}},
		Discovery: addresses{"web": {secureWeb(t, ca, "web", ok)}, "shadow": {secureWeb(t, ca, "shadow", ok)}, "liar": {secureWeb(t, ca, "web", ok)}},
	})
	res, err := page(t, m, "http://web/")
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	if got := results(t, reader, 2); got["ok"] != 1 || got["unreachable"] != 1 {
		t.Errorf("%v", got)
	}
}

func TestMirrorIsTraced(t *testing.T) {
	spans := new(tracetest.InMemoryExporter)
	copies := newShadow()
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {web(t, ok)}, "shadow": {web(t, copies.ServeHTTP)}}, Defaults: mirroring(policy.Mirror{}),
		Telemetry: mesh.TelemetryOptions{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))},
	})
	res, err := page(t, m, "http://web/")
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	parent := copies.next(t).Header.Get("Traceparent")
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	marked := 0
	for _, s := range spans.GetSpans() {
		if s.SpanContext.TraceID() != spans.GetSpans()[0].SpanContext.TraceID() {
			t.Error("a trace of its own")
		}
		for _, a := range s.Attributes {
			if a.Key == "innermesh.mirrored" && a.Value.AsBool() {
				marked++
				if s.ChildSpanCount == 0 && !strings.Contains(parent, s.SpanContext.SpanID().String()) {
					t.Errorf("the copy was sent with %s", parent)
				}
			}
		}
	}
	if n := len(spans.GetSpans()); n != 4 || marked != 2 {
		t.Errorf("%d spans, %d of a copy: want 4 and 2", n, marked)
	}
}

func TestExplainMirror(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {"10.0.0.1:80"}, "shadow": {"10.0.0.2:80"}}, Defaults: mirroring(policy.Mirror{Percent: 2.5})})
	e, err := m.Explain(limited(t), request(t, http.MethodGet, "http://web/", nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"  copies of 2.5 % of the calls, of 65536 bytes and 100 at once at most, go to\n    shadow\n      10.0.0.2:80",
		`  mirror               [{"service":"shadow","percent":2.5}] by Options.Defaults`,
	} {
		if !strings.Contains(e.String(), line) {
			t.Errorf("no %q in\n%s", line, e)
		}
	}
}
