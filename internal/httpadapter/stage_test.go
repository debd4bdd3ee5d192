package httpadapter_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/httpadapter"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// stage is a client of the service web, whose connections are counted.
type stage struct {
	registry  discovery.Memory
	directory *upstream.Directory
	client    *httpadapter.Transport

	open, most, made atomic.Int64
	dial             func(ctx context.Context, addr string) (net.Conn, error)
}

func newStage(t *testing.T, p policy.Service, addrs ...string) *stage {
	t.Helper()
	s := &stage{dial: func(ctx context.Context, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}}
	tel, err := telemetry.New(telemetry.Options{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	s.directory = upstream.NewDirectory(upstream.Options{
		Source: &s.registry, Telemetry: tel, Logger: slog.New(slog.DiscardHandler),
		Provisional: func(string) policy.Effective { return effective(p) },
		Follow: func(u *upstream.Upstream) {
			if err := u.Apply(effective(p)); err != nil {
				t.Error(err)
			}
		},
	})
	s.are(t, addrs...)
	s.client = httpadapter.New(httpadapter.Options{Directory: s.directory, Base: s.base()})
	t.Cleanup(func() {
		s.directory.Close()
		s.client.Close()
	})
	return s
}

func effective(p policy.Service) policy.Effective {
	return policy.Merge(policy.Layer{Service: policy.Default()}, policy.Layer{Service: p})
}

// are says which instances there are.
func (s *stage) are(t *testing.T, addrs ...string) {
	t.Helper()
	var all []discovery.Instance
	for _, a := range addrs {
		all = append(all, discovery.Instance{ID: a, Address: a})
	}
	if err := s.registry.Set("web", all...); err != nil {
		t.Fatal(err)
	}
}

// base dials as s.dial says, and counts.
func (s *stage) base() *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		c, err := s.dial(ctx, addr)
		if err != nil {
			return nil, err
		}
		s.made.Add(1)
		for n := s.open.Add(1); ; {
			if most := s.most.Load(); n <= most || s.most.CompareAndSwap(most, n) {
				break
			}
		}
		return &countedConn{Conn: c, leave: sync.OnceFunc(func() { s.open.Add(-1) })}, nil
	}}
}

type countedConn struct {
	net.Conn
	leave func()
}

func (c *countedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// ask makes a request to the service.
func (s *stage) ask(t *testing.T, method, path string, body io.Reader) (*http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, "http://web"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return s.client.RoundTrip(r)
}

// get makes a request and reads its answer.
func (s *stage) get(t *testing.T, path string) (string, error) {
	t.Helper()
	res, err := s.ask(t, http.MethodGet, path, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

// failure is how a call failed.
func failure(t *testing.T, err error) *call.Error {
	t.Helper()
	e, ok := errors.AsType[*call.Error](err)
	if !ok {
		t.Fatalf("%v is no *call.Error", err)
	}
	return e
}

// serve starts a server for HTTP/1.1 and h2c.
func serve(t *testing.T, streams int, h http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := server(streams, h)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

func server(streams int, h http.HandlerFunc) *http.Server {
	s := &http.Server{
		Handler: h, Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: streams},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), ReadHeaderTimeout: time.Minute,
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return s
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", patience, what)
		case <-tick.C:
		}
	}
}

// over speaks HTTP/2 or HTTP/1.1.
func over(protocol string, n policy.Connections) policy.Service {
	return policy.Service{HTTP: policy.HTTP{Protocol: protocol}, Connections: n}
}

// gate is a handler that answers once it is opened; it counts who waits.
type gate struct {
	waiting, passed atomic.Int64
	open            chan struct{}
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := g.waiting.Add(1)
	select {
	case <-g.open:
	case <-r.Context().Done():
	}
	g.waiting.Add(-1)
	g.passed.Add(1)
	_, _ = io.WriteString(w, strconv.FormatInt(n, 10))
}
