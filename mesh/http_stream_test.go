package mesh_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

func TestHTTPStreamsAnswers(t *testing.T) {
	release := make(chan struct{})
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "data: first\n\n")
		w.(http.Flusher).Flush()
		select {
		case <-release:
			_, _ = io.WriteString(w, "data: last\n\n")
		case <-r.Context().Done():
		}
	})}}})
	res, err := page(t, m, "http://web/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewReader(res.Body)
	if s, err := lines.ReadString('\n'); s != "data: first\n" {
		t.Fatalf("got %q, %v while the server holds", s, err)
	}
	close(release)
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.Contains(string(rest), "last") {
		t.Errorf("got %q, %v", rest, err)
	}
}

// lasting is a base whose answers take as long as it says to read.
type lasting time.Duration

func (l lasting) RoundTrip(r *http.Request) (*http.Response, error) {
	from, to := io.Pipe()
	go func() {
		timer := time.NewTimer(time.Duration(l))
		defer timer.Stop()
		select {
		case <-timer.C:
			_ = to.Close()
		case <-r.Context().Done():
			_ = to.CloseWithError(r.Context().Err())
		}
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: from, Request: r}, nil
}

func TestHTTPAnswersOutliveTheirAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, mesh.Options{
			Discovery: addresses{"web": {"127.0.0.1:1"}},
			Defaults: policy.Service{Timeout: policy.Timeout{
				Total: policy.Duration(2 * time.Second), PerTry: policy.Duration(time.Second), Idle: policy.Off,
			}},
		})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://web/", nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		res, err := m.Transport(lasting(time.Hour)).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		read(t, res)
		if took := time.Since(began); took != time.Hour {
			t.Errorf("the answer ended after %v, want an hour", took)
		}
	})
}

func TestHTTPTrailers(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", r.Trailer.Get("X-Ask"))
	})}}})
	r := request(t, http.MethodPut, "http://web/", watch("x"))
	r.Trailer = http.Header{"X-Ask": {"42"}}
	res, err := m.HTTPClient().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if read(t, res); res.Trailer.Get("X-Sum") != "42" {
		t.Errorf("trailers are %v", res.Trailer)
	}
}

func TestHTTPInterimAnswers(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		mirror(w, r)
	})}}})
	var hints, goOn atomic.Int32
	r := request(t, http.MethodPut, "http://web/", strings.NewReader("hello"))
	r.Header.Set("Expect", "100-continue")
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got100Continue: func() { goOn.Add(1) },
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			if code == http.StatusEarlyHints {
				hints.Add(1)
			}
			return nil
		},
	}))
	res, err := m.HTTPClient().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if s := read(t, res); s != "hello" || hints.Load() != 1 || goOn.Load() != 1 {
		t.Errorf("got %q, %d hints, %d times 100", s, hints.Load(), goOn.Load())
	}
}

func TestHTTPSwitchingProtocols(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString("you said " + line)
		_ = rw.Flush()
	})}}})
	r := request(t, http.MethodGet, "http://web/", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "echo")
	res, err := m.HTTPClient().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	rw, isBoth := res.Body.(io.ReadWriteCloser)
	if res.StatusCode != http.StatusSwitchingProtocols || !isBoth {
		t.Fatalf("got %d with a %T", res.StatusCode, res.Body)
	}
	_, _ = io.WriteString(rw, "hi\n")
	if s, err := bufio.NewReader(rw).ReadString('\n'); s != "you said hi\n" {
		t.Errorf("got %q, %v", s, err)
	}
}

func TestHTTPSpeaksHTTP2InTheClear(t *testing.T) {
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {h2cWeb(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Proto+" "+r.Host)
		})}},
		Defaults: policy.Service{HTTP: policy.HTTP{Protocol: policy.HTTP2}},
	})
	res, err := page(t, m, "http://web/")
	if err != nil {
		t.Fatal(err)
	}
	if s := read(t, res); s != "HTTP/2.0 web" {
		t.Errorf("got %q", s)
	}
	if err := m.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}
