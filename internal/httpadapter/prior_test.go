package httpadapter

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/tlsutil"
)

// priorServing is a server whose handler takes clients that begin with HTTP/2.
func priorServing(t *testing.T, prior *Prior, h http.Handler, secure func(net.Listener) net.Listener) (addr string, s *http.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	if secure != nil {
		l = secure(l)
	}
	type key struct{}
	s = &http.Server{
		Handler: prior.Handler(h), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context { return context.WithValue(ctx, key{}, "kept") },
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() {
		_ = prior.Close()
		_ = s.Close()
		<-done
	})
	return addr, s
}

// h2client begins with HTTP/2 on connections of that dialler.
func h2client(t *testing.T, dial func(ctx context.Context, addr string) (net.Conn, error)) *http.Client {
	t.Helper()
	tr := &http.Transport{
		Protocols:   new(http.Protocols),
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, addr) },
	}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func dialPlain(ctx context.Context, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

func fetch(t *testing.T, c *http.Client, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tell answers with what is known of a request.
func tell(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	who := "nobody"
	if r.TLS != nil {
		who = r.TLS.PeerCertificates[0].URIs[0].Path
	}
	_, _ = io.WriteString(w, r.Proto+" "+who+" "+string(body))
}

func TestPriorPlain(t *testing.T) {
	addr, _ := priorServing(t, new(Prior), http.HandlerFunc(tell), nil)
	long := strings.Repeat("x", 100_000)
	c := h2client(t, dialPlain)
	for range 3 {
		if got := fetch(t, c, "http://"+addr+"/", long); got != "HTTP/2.0 nobody "+long {
			t.Errorf("got %.60q", got)
		}
	}
	h1 := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if got := fetch(t, h1, "http://"+addr+"/", "a"); got != "HTTP/1.1 nobody a" {
		t.Errorf("got %q", got)
	}
}

// Who has called is known although TLS has negotiated nothing.
func TestPriorUnderTLS(t *testing.T) {
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := func(service string, of func(tlsutil.Source, tlsutil.Authorizer, tlsutil.Options) *tls.Config, protos []string) *tls.Config {
		src, err := ca.Source(service)
		if err != nil {
			t.Fatal(err)
		}
		return of(src, tlsutil.AuthorizeAny(), tlsutil.Options{NextProtos: protos})
	}
	addr, _ := priorServing(t, new(Prior), http.HandlerFunc(tell), func(l net.Listener) net.Listener {
		return tls.NewListener(l, config("web", tlsutil.ServerConfig, nil))
	})
	client := config("shop", tlsutil.ClientConfig, []string{})
	c := h2client(t, func(ctx context.Context, addr string) (net.Conn, error) {
		return (&tls.Dialer{Config: client}).DialContext(ctx, "tcp", addr)
	})
	if got := fetch(t, c, "http://"+addr+"/", "b"); got != "HTTP/2.0 /ns/default/dc/dc1/svc/shop b" {
		t.Errorf("got %q", got)
	}
}

// The server's own Shutdown says goodbye, and a request under way ends.
func TestPriorShutdown(t *testing.T) {
	prior, entered, leave := new(Prior), make(chan struct{}), make(chan struct{})
	addr, s := priorServing(t, prior, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		tell(w, r)
	}), nil)
	answers := make(chan string, 1)
	go func() { answers <- fetch(t, h2client(t, dialPlain), "http://"+addr+"/", "c") }()
	<-entered
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	over := make(chan error, 1)
	go func() { over <- prior.Shutdown(t.Context()) }()
	select {
	case err := <-over:
		t.Errorf("ended with a request under way: %v", err)
	default:
	}
	close(leave)
	if got := <-answers; got != "HTTP/2.0 nobody c" {
		t.Errorf("got %q", got)
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
}

// What only begins like HTTP/2 is hung up on, and never reaches the handler.
func TestPriorNonsense(t *testing.T) {
	addr, _ := priorServing(t, new(Prior), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("served %s", r.Method)
	}), nil)
	for _, nonsense := range []string{
		"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n\r\n",
	} {
		conn, err := dialPlain(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, nonsense); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(conn)
		if strings.Contains(string(answer), "HTTP/1") {
			t.Errorf("%q got %q", nonsense, answer)
		}
		_ = conn.Close()
	}
}
