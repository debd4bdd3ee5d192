package mesh_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

// web starts an instance on loopback and returns its address.
func web(tb testing.TB, h http.HandlerFunc) string {
	tb.Helper()
	s := httptest.NewServer(h)
	tb.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.Listener.Addr().String()
}

// h2cWeb is web that speaks HTTP/2 in the clear and nothing else.
func h2cWeb(tb testing.TB, h http.HandlerFunc) string {
	tb.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	tb.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// secureWeb is web that shows the identity of a service.
func secureWeb(tb testing.TB, ca *tlsutil.DevCA, service string, h http.HandlerFunc) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &http.Server{
		Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		TLSConfig: tlsutil.ServerConfig(identity(tb, ca, service), tlsutil.AuthorizeAny(), tlsutil.Options{}),
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ServeTLS(l, "", "") }()
	tb.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

func devCA(tb testing.TB) *tlsutil.DevCA {
	tb.Helper()
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return ca
}

func identity(tb testing.TB, ca *tlsutil.DevCA, service string) tlsutil.Source {
	tb.Helper()
	src, err := ca.Source(service)
	if err != nil {
		tb.Fatal(err)
	}
	return src
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }

func unavailable(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusServiceUnavailable)
}

// mirror answers with the request's body.
func mirror(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }

// counted counts the requests that come to h.
func counted(n *atomic.Int32, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { n.Add(1); h(w, r) }
}

// hangUp reads the request and breaks the connection without an answer.
func hangUp(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}

// page asks for a page of the mesh within the test's time.
func page(tb testing.TB, m *mesh.Mesh, url string) (*http.Response, error) {
	tb.Helper()
	return m.HTTPClient().Do(request(tb, http.MethodGet, url, nil))
}

func request(tb testing.TB, method, url string, body io.Reader) *http.Request {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// read returns the whole answer and closes it.
func read(tb testing.TB, res *http.Response) string {
	tb.Helper()
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// watched is a request's body that knows whether it was closed. It hides how to
// rewind it.
type watched struct {
	io.Reader
	closed chan struct{}
	is     atomic.Bool
}

func watch(s string) *watched {
	return &watched{Reader: strings.NewReader(s), closed: make(chan struct{})}
}

func (w *watched) Close() error {
	if w.is.CompareAndSwap(false, true) {
		close(w.closed)
	}
	return nil
}
