package mesh_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/tlsutil"
)

// dials counts connections that were made and closed.
type dials struct{ made, closed atomic.Int32 }

// base is a transport whose connections are counted, and which has a proxy
// that nobody should ask.
func (d *dials) base(t *testing.T) *http.Transport {
	t.Helper()
	return &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) { return nil, errors.New("no proxy leads to " + r.URL.Host) },
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			d.made.Add(1)
			return &dialedConn{Conn: c, d: d}, nil
		},
	}
}

type dialedConn struct {
	net.Conn
	d    *dials
	once sync.Once
}

func (c *dialedConn) Close() error {
	c.once.Do(func() { c.d.closed.Add(1) })
	return c.Conn.Close()
}

// reasonOf is how a call failed.
func reasonOf(t *testing.T, err error) call.Reason {
	t.Helper()
	e, ok := errors.AsType[*call.Error](err)
	if !ok {
		t.Fatalf("%v is no *call.Error", err)
	}
	return e.Reason
}

// What is wrong with the request is not the instance's fault.
func TestHTTPRequestThatCanNotBeSent(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, mirror)}}})
	broken := errors.New("the disk is full")
	r := request(t, http.MethodPut, "http://web/", io.MultiReader(strings.NewReader("half"), brokenReader{broken}))
	if _, err := m.HTTPClient().Do(r); reasonOf(t, err) != call.Rejected || !errors.Is(err, broken) {
		t.Errorf("got %v, want it rejected because of its body", err)
	}
	r = request(t, http.MethodGet, "http://web/", nil)
	r.Header["Bad Name"] = []string{"x"}
	if _, err := m.HTTPClient().Do(r); reasonOf(t, err) != call.Rejected {
		t.Errorf("got %v, want it rejected because of its header", err)
	}
	if n := failures(m); n != 0 {
		t.Errorf("the instance is charged with %d failures", n)
	}
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

// sent is a base that keeps what it is given, and answers.
type sent []*http.Request

func (s *sent) RoundTrip(r *http.Request) (*http.Response, error) {
	*s = append(*s, r)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

// A trace goes into a copy of the caller's header, and the host stays logical
// though the URL is not.
func TestHTTPHeadersOfAnAttempt(t *testing.T) {
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {"10.0.0.1:80"}},
		Telemetry: mesh.TelemetryOptions{TracerProvider: sdktrace.NewTracerProvider()},
	})
	var base sent
	r := request(t, http.MethodGet, "http://web/", nil)
	r.Host = ""
	r.Header.Set("X-Own", "1")
	res, err := m.Transport(&base).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	got := base[0]
	if got.Host != "web" || got.URL.Host != "10.0.0.1:80" {
		t.Errorf("sent to %s with host %q", got.URL.Host, got.Host)
	}
	if got.Header.Get("Traceparent") == "" || got.Header.Get("X-Own") != "1" || len(r.Header) != 1 {
		t.Errorf("sent %v, the caller's is %v", got.Header, r.Header)
	}
}

func TestHTTPRetryAfterIsHeeded(t *testing.T) {
	for after, attempts := range map[string]int32{"": 2, "0": 2, "3600": 1, "Fri, 31 Dec 2999 23:59:59 GMT": 1, "soon": 2} {
		var n atomic.Int32
		busy := counted(&n, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", after)
			if n.Load() == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, busy), web(t, busy)}}})
		res, err := page(t, m, "http://web/")
		if err != nil {
			t.Fatal(err)
		}
		_ = read(t, res)
		if n.Load() != attempts {
			t.Errorf("Retry-After %q: %d attempts, want %d", after, n.Load(), attempts)
		}
	}
}

// The end of a body ends the call, though the caller may forget to close it.
func TestHTTPBodyEndsTheCall(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{
		"web": {web(t, ok)},
		"cut": {web(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
		})},
	}})
	for service, broken := range map[string]bool{"web": false, "cut": true} {
		res, err := page(t, m, "http://"+service+"/")
		if err != nil {
			t.Fatal(err)
		}
		if n := inflight(m); n != 1 {
			t.Errorf("%s: %d in flight before the body was read, want 1", service, n)
		}
		if _, err := io.ReadAll(res.Body); (err != nil) != broken {
			t.Errorf("%s: read: %v", service, err)
		}
		if n := inflight(m); n != 0 {
			t.Errorf("%s: %d in flight after the body's end", service, n)
		}
		_ = res.Body.Close()
	}
}

func TestHTTPNoProxyToInstances(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, ok)}}})
	base := new(dials).base(t)
	c := &http.Client{Transport: m.Transport(base)}
	res, err := c.Do(request(t, http.MethodGet, "http://web/", nil))
	if err != nil {
		t.Fatal(err)
	}
	_ = read(t, res)
}

// As many connections are kept as there were callers at once, and none to an
// instance that has left.
func TestHTTPConnectionsAreKeptAndClosed(t *testing.T) {
	const callers = 20
	var there sync.WaitGroup
	addr := web(t, func(http.ResponseWriter, *http.Request) {
		there.Done()
		there.Wait() // all at once
	})
	registry := new(discovery.Memory)
	if err := registry.Set("web", discovery.Instance{ID: "1", Address: addr}); err != nil {
		t.Fatal(err)
	}
	var d dials
	m := newMesh(t, mesh.Options{Discovery: registry})
	c := &http.Client{Transport: m.Transport(d.base(t))}
	for range 3 {
		there.Add(callers)
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				res, err := c.Do(request(t, http.MethodGet, "http://web/", nil))
				if err != nil {
					t.Error(err)
					return
				}
				_ = read(t, res)
			})
		}
		all.Wait()
	}
	if n := d.made.Load(); n > 2*callers { // a connection may be given back a moment too late
		t.Errorf("%d connections were made for %d callers", n, callers)
	}
	if err := registry.Set("web"); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "all connections are closed", func() bool { return d.closed.Load() == d.made.Load() })
}

func TestHTTPRefusedServerIsHungUpOn(t *testing.T) {
	ca := devCA(t)
	var d dials
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {secureWeb(t, ca, "stock", ok)}},
		TLS:       mesh.TLSOptions{Source: identity(t, ca, "checkout")},
	})
	c := &http.Client{Transport: m.Transport(d.base(t))}
	_, err := c.Do(request(t, http.MethodGet, "http://web/", nil))
	if !errors.Is(err, tlsutil.ErrDenied) {
		t.Errorf("got %v", err)
	}
	eventually(t, patience, "the connections are closed", func() bool { return d.made.Load() > 0 && d.closed.Load() == d.made.Load() })
}

func TestHTTPConnectTimeout(t *testing.T) {
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {"10.0.0.1:80"}},
		Defaults:  policy.Service{Timeout: policy.Timeout{Connect: policy.Duration(20 * time.Millisecond)}, Retry: policy.Retry{Attempts: 1}},
	})
	c := &http.Client{Transport: m.Transport(&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done() // a black hole
		return nil, ctx.Err()
	}})}
	_, err := c.Do(request(t, http.MethodPost, "http://web/", nil))
	if reasonOf(t, err) != call.Unreachable {
		t.Errorf("got %v, want the instance unreachable", err)
	}
}
