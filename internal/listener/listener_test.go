package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/tlsutil"
)

// heard is an observer that remembers.
type heard struct {
	mu      sync.Mutex
	reasons []tlsutil.Reason
	plain   int
	news    chan struct{}
}

func newHeard() *heard { return &heard{news: make(chan struct{}, 1000)} }

func (h *heard) Refused(reason tlsutil.Reason, _ net.Addr, _ error) {
	h.mu.Lock()
	h.reasons = append(h.reasons, reason)
	h.mu.Unlock()
	h.news <- struct{}{}
}

func (h *heard) Plaintext(net.Addr) {
	h.mu.Lock()
	h.plain++
	h.mu.Unlock()
}

func (h *heard) all() []tlsutil.Reason {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.reasons)
}

// ends are both ends' configurations.
type ends struct{ server, client *tls.Config }

func newEnds(tb testing.TB) ends {
	tb.Helper()
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	source := func(service string) tlsutil.Source {
		src, err := ca.Source(service)
		if err != nil {
			tb.Fatal(err)
		}
		return src
	}
	terms := tlsutil.Terms{MinVersion: tls.VersionTLS12}
	return ends{
		tlsutil.ServerConfig(source("web"), tlsutil.AuthorizeMesh(), tlsutil.Options{Terms: terms}),
		tlsutil.ClientConfig(source("shop"), tlsutil.AuthorizeService("web"), tlsutil.Options{Terms: terms}),
	}
}

func (e ends) options() Options {
	return Options{Config: func(context.Context) (*tls.Config, error) { return e.server, nil }}
}

// listening is a listener on a real socket.
func listening(t *testing.T, o Options) *Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(o).Listen(l)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func dial(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}

// echo answers with what it reads, on every connection.
func echo(t *testing.T, l net.Listener) {
	t.Helper()
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
}

func say(t *testing.T, conn net.Conn, what string) {
	t.Helper()
	if _, err := io.WriteString(conn, what); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(what))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != what {
		t.Fatalf("got %q, %v; want %q", got, err, what)
	}
}

func TestListenerSecures(t *testing.T) {
	e := newEnds(t)
	l := listening(t, e.options())
	echo(t, l)
	for range 3 {
		conn := tls.Client(dial(t, l), e.client)
		say(t, conn, "hello")
		_ = conn.Close()
	}
}

// In permissive mode the first byte decides; it is not lost.
func TestListenerPermissive(t *testing.T) {
	e, h := newEnds(t), newHeard()
	o := e.options()
	o.Permissive, o.Observer = true, h
	l := listening(t, o)
	echo(t, l)
	say(t, tls.Client(dial(t, l), e.client), "hello")
	plain := dial(t, l)
	say(t, plain, "h")
	say(t, plain, "ello")
	if got := h.all(); len(got) != 0 || h.plain != 1 {
		t.Errorf("refused %q, %d in plain text", got, h.plain)
	}
}

// Who sends HTTP to a strict port is told so, and refused.
func TestListenerStrict(t *testing.T) {
	e, h := newEnds(t), newHeard()
	o := e.options()
	o.Observer = h
	l := listening(t, o)
	echo(t, l)
	conn := dial(t, l)
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: web\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
		t.Errorf("got %q, %v", answer, err)
	}
	<-h.news
	if got := h.all(); len(got) != 1 || got[0] != tlsutil.ReasonPlaintext {
		t.Errorf("refused %q", got)
	}
}

// Those who only look whether the port is open are nobody's business.
func TestListenerProbed(t *testing.T) {
	e, h := newEnds(t), newHeard()
	o := e.options()
	o.Observer = h
	l := listening(t, o)
	echo(t, l)
	_ = dial(t, l).Close()
	half := dial(t, l)
	_, _ = half.Write([]byte{recordHandshake, 3})
	_ = half.Close()
	<-h.news
	_ = l.Close() // all handshakes are over
	if got := h.all(); len(got) != 1 || got[0] != tlsutil.ReasonAborted {
		t.Errorf("refused %q, want the half one alone", got)
	}
}

// Under TLS 1.2 a client may ask to begin anew. It is refused, and counted.
func TestListenerRenegotiation(t *testing.T) {
	e, h := newEnds(t), newHeard()
	o := e.options()
	o.Observer = h
	l := listening(t, o)
	echo(t, l)
	raw := dial(t, l)
	config := e.client.Clone()
	config.MaxVersion = tls.VersionTLS12
	conn := tls.Client(raw, config)
	say(t, conn, "hello")
	if got := h.all(); len(got) != 0 {
		t.Fatalf("refused %q", got)
	}
	// The record can not be read, as no key was used. What it is stands outside.
	_, _ = raw.Write(record(recordHandshake, 40))
	<-h.news
	if got := h.all(); len(got) != 1 || got[0] != tlsutil.ReasonRenegotiation {
		t.Errorf("refused %q", got)
	}
}

// Whatever is under way when a listener is closed ends with it.
func TestListenerClose(t *testing.T) {
	e := newEnds(t)
	l := listening(t, e.options())
	silent, done := dial(t, l), tls.Client(dial(t, l), e.client)
	if err := done.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	for _, conn := range []net.Conn{silent, done} {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("a connection lives on that nobody has accepted")
		}
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

// broken is a listener that has run out of something for a while.
type broken struct {
	net.Listener
	errs []error
}

func (b *broken) Accept() (net.Conn, error) {
	if len(b.errs) > 0 {
		err := b.errs[0]
		b.errs = b.errs[1:]
		return nil, err
	}
	return b.Listener.Accept()
}

func TestListenerTellsErrors(t *testing.T) {
	e := newEnds(t)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lack := errors.New("too many open files")
	l := New(e.options()).Listen(&broken{inner, []error{lack, lack}})
	defer l.Close()
	for range 2 {
		if _, err := l.Accept(); !errors.Is(err, lack) {
			t.Errorf("got %v", err)
		}
	}
	echo(t, l)
	say(t, tls.Client(dial(t, l), e.client), "hello")
}

// A handshake waits for a configuration, and no longer than it may take itself.
func TestHandshakeTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnds(t)
		h := newHeard()
		for name, config := range map[string]func(context.Context) (*tls.Config, error){
			"a peer that says nothing": e.options().Config,
			"a source that has nothing": func(ctx context.Context) (*tls.Config, error) {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			},
		} {
			near, far := net.Pipe()
			begin := time.Now()
			_, err := New(Options{Config: config, Observer: h}).Handshake(t.Context(), far)
			if took := time.Since(begin); took != 10*time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v after %s", name, err, took)
			}
			if _, err := near.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: the connection was left open", name)
			}
		}
		if got := h.all(); !slices.Equal(got, []tlsutil.Reason{tlsutil.ReasonTimeout, tlsutil.ReasonTimeout}) {
			t.Errorf("refused %q", got)
		}
	})
}

// Hundreds of peers that send a byte now and then do not keep an honest one out.
func TestSlowPeersCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnds(t)
		h := newHeard()
		o := e.options()
		o.Observer, o.Limit = h, 16
		s := New(o)
		var running sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for range 100 {
			near, far := net.Pipe()
			running.Go(func() {
				defer near.Close()
				for _, b := range record(recordHandshake, 16_000) {
					if _, err := near.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(500 * time.Millisecond)
				}
			})
			running.Go(func() { _, _ = s.Handshake(ctx, far) })
		}
		synctest.Wait()
		time.Sleep(time.Second)
		near, far := net.Pipe()
		client := tls.Client(near, e.client)
		running.Go(func() { _, _ = io.Copy(io.Discard, client) }) // the handshake, and what follows it
		begin := time.Now()
		if _, err := s.Handshake(t.Context(), far); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("an honest peer had to wait %s", took)
		}
		cancel()
		_, _ = near.Close(), far.Close()
		running.Wait()
		if got := h.all(); len(got) == 0 || slices.ContainsFunc(got, func(r tlsutil.Reason) bool { return r != tlsutil.ReasonCrowded }) {
			t.Errorf("refused %q", got)
		}
	})
}
