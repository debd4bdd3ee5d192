package mesh_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// muted is a server of h whose connections' ends are in no log.
func muted(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// Half an answer does not look like a whole one: the connection is cut. A handler
// that cuts it itself is not logged.
func TestMiddlewareCutsHalfAnswers(t *testing.T) {
	tests := map[string]struct {
		begin  bool
		value  any
		logged int
	}{
		"after the head":      {true, "oops", 1},
		"on purpose":          {false, http.ErrAbortHandler, 0},
		"on purpose, halfway": {true, http.ErrAbortHandler, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m, log := serving(t, policy.Inbound{Concurrency: 1})
			s := muted(t, m.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if test.begin {
					_, _ = io.WriteString(w, "half of it")
					_ = http.NewResponseController(w).Flush()
				}
				panic(test.value)
			})))
			for range 2 { // the place is free again
				res, err := s.Client().Do(request(t, http.MethodPost, s.URL, nil))
				if err == nil {
					_, err = io.ReadAll(res.Body)
					_ = res.Body.Close()
				}
				if err == nil {
					t.Errorf("the answer seems whole: %v", res.Status)
				}
			}
			if n := strings.Count(log.String(), "handler panicked"); n != 2*test.logged {
				t.Errorf("logged %d times: %s", n, log)
			}
		})
	}
}

// The handler's writer can what net/http's can.
func TestMiddlewareKeepsTheWritersAbilities(t *testing.T) {
	m, _ := serving(t, policy.Inbound{Concurrency: 8})
	can := make(chan [4]bool, 1)
	h := m.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, flusher := w.(http.Flusher)
		_, hijacker := w.(http.Hijacker)
		_, reader := w.(io.ReaderFrom)
		can <- [4]bool{flusher, hijacker, reader, http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)) == nil}
		_, _ = io.Copy(w, strings.NewReader("text"))
	}))
	http1 := muted(t, h)
	res, err := http1.Client().Do(request(t, http.MethodGet, http1.URL, nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := <-can; got != [4]bool{true, true, true, true} || read(t, res) != "text" {
		t.Errorf("over HTTP/1 it can %v", got)
	}
	http2 := httptest.NewUnstartedServer(h)
	http2.EnableHTTP2 = true
	http2.StartTLS()
	t.Cleanup(http2.Close)
	if res, err = http2.Client().Do(request(t, http.MethodGet, http2.URL, nil)); err != nil {
		t.Fatal(err)
	}
	if got := <-can; got != [4]bool{true, false, false, true} || read(t, res) != "text" || res.ProtoMajor != 2 {
		t.Errorf("over HTTP/2 it can %v", got)
	}
}

// A connection that is upgraded is the handler's, takes one place as long as the
// handler runs, and nothing of what the program can carry.
func TestMiddlewareLetsConnectionsBeUpgraded(t *testing.T) {
	m, _ := serving(t, policy.Inbound{Concurrency: 1, Adaptive: policy.Adaptive{Max: 1, Min: 1}})
	s := muted(t, m.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString(line)
		_ = rw.Flush()
	})))
	conn, err := new(net.Dialer).DialContext(limited(t), "tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: shop\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
	from := bufio.NewReader(conn)
	res, err := http.ReadResponse(from, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	if res, err := s.Client().Do(request(t, http.MethodGet, s.URL, nil)); err != nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("X-Envoy-Overloaded") != "true" {
		t.Errorf("beside it %v, %v", res, err)
	} else {
		read(t, res)
	}
	_, _ = io.WriteString(conn, "hello\n")
	if line, err := from.ReadString('\n'); line != "hello\n" {
		t.Errorf("%q, %v", line, err)
	}
}

// Events take a place for as long as they last, and no part of what the program can
// carry: others are let in beside them.
func TestMiddlewareLetsEventsFlow(t *testing.T) {
	for name, h := range map[string]http.Header{"asked for": {"Accept": {"text/event-stream"}}, "flushed": {}} {
		t.Run(name, func(t *testing.T) {
			m, _ := serving(t, policy.Inbound{Adaptive: policy.Adaptive{Max: 1, Min: 1}})
			end := make(chan struct{})
			s := muted(t, m.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/events" {
					_, _ = io.WriteString(w, "data: 1\n\n")
					w.(http.Flusher).Flush()
					<-end
				}
			})))
			r := request(t, http.MethodGet, s.URL+"/events", nil)
			r.Header = h
			events, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if res, err := s.Client().Do(request(t, http.MethodGet, s.URL, nil)); err != nil || res.StatusCode != http.StatusOK {
				t.Errorf("beside them %v, %v", res, err)
			} else {
				read(t, res)
			}
			close(end)
			if text := read(t, events); text != "data: 1\n\n" {
				t.Errorf("events %q", text)
			}
		})
	}
}

// What a call has told goes on with the calls that are made to serve it.
func TestServedCallsHandOn(t *testing.T) {
	seen := make(chan http.Header, 1)
	leaf := web(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header })
	m := newMesh(t, mesh.Options{Discovery: addresses{"leaf": {leaf}}})
	client := m.HTTPClient()
	s := muted(t, m.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for _, change := range []func(*http.Request) *http.Request{
			func(r *http.Request) *http.Request { return r },
			func(r *http.Request) *http.Request { r.Header.Set("X-Request-ID", "own"); return r },
			func(r *http.Request) *http.Request {
				return r.WithContext(call.With(r.Context(), call.Options{Priority: "critical"}))
			},
		} {
			req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://leaf/", nil)
			if err != nil {
				t.Error(err)
				return
			}
			res, err := client.Do(change(req))
			if err != nil {
				t.Error(err)
				return
			}
			_ = res.Body.Close()
		}
	})))
	r := request(t, http.MethodGet, s.URL, nil)
	r.Header.Set("X-Request-ID", "r-1")
	r.Header.Set("Innermesh-Priority", "degraded")
	type pair struct{ id, priority string }
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, want := range []pair{{"r-1", "degraded"}, {"own", "degraded"}, {"r-1", "critical"}} {
			h := <-seen
			if got := (pair{h.Get("X-Request-ID"), h.Get("Innermesh-Priority")}); got != want {
				t.Errorf("handed on %+v, want %+v", got, want)
			}
		}
	}()
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	<-done
}

// Our own clients take a refusal at its word: they come again when they were told,
// and do not take the instance for broken.
func TestClientsObeyPushback(t *testing.T) {
	var handled atomic.Int32
	server, _ := serving(t, policy.Inbound{Rate: policy.InboundRate{PerSecond: 5, Burst: 1}})
	s := muted(t, server.Middleware(counted(&handled, ok)))
	overloaded := web(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Envoy-Overloaded", "true")
		w.Header().Set("Retry-After-Ms", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	m := newMesh(t, mesh.Options{Discovery: addresses{"shop": {s.Listener.Addr().String()}, "other": {overloaded}}})
	began := time.Now()
	for range 2 {
		res, err := page(t, m, "http://shop/")
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", res, err)
		}
		read(t, res)
	}
	if took := time.Since(began); handled.Load() != 2 || took < 150*time.Millisecond {
		t.Errorf("handled %d in %v", handled.Load(), took)
	}
	for range 10 {
		res, err := page(t, m, "http://other/")
		if err != nil {
			t.Fatal(err)
		}
		read(t, res)
	}
	if n := failures(m); n != 0 {
		t.Errorf("%d failures were counted", n)
	}
}

// A mesh that is closed still serves, without its policy.
func TestMiddlewareOutlivesTheMesh(t *testing.T) {
	m, _ := serving(t, policy.Inbound{})
	h := m.Middleware(http.HandlerFunc(ok))
	if err := errors.Join(m.Close(context.Background()), m.Close(context.Background())); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
}
