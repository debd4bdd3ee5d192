package mesh_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/tlsutil"
)

func TestHTTPNamesStayLogical(t *testing.T) {
	ca := devCA(t)
	tell := func(w http.ResponseWriter, r *http.Request) {
		name := ""
		if r.TLS != nil {
			name = r.TLS.ServerName
		}
		_, _ = io.WriteString(w, r.Proto+" "+r.Host+" "+name)
	}
	for _, c := range []struct{ name, protocol, addr, want string }{
		{"plain", policy.HTTP1, web(t, tell), "HTTP/1.1 web "},
		{"HTTP/1.1 secured", policy.HTTP1, secureWeb(t, ca, "web", tell), "HTTP/1.1 web web"},
		{"HTTP/2 secured", policy.HTTP2, secureWeb(t, ca, "web", tell), "HTTP/2.0 web web"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := mesh.Options{
				Discovery: addresses{"web": {c.addr}}, Defaults: policy.Service{HTTP: policy.HTTP{Protocol: c.protocol}},
			}
			if c.name != "plain" {
				o.TLS.Source = identity(t, ca, "checkout")
			}
			res, err := page(t, newMesh(t, o), "http://web/")
			if err != nil {
				t.Fatal(err)
			}
			if s := read(t, res); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
}

func TestHTTPRefusesTheWrongServer(t *testing.T) {
	ca := devCA(t)
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {secureWeb(t, ca, "stock", ok)}},
		TLS:       mesh.TLSOptions{Source: identity(t, ca, "checkout")},
	})
	_, err := page(t, m, "http://web/")
	e, isCall := errors.AsType[*call.Error](err)
	if !isCall || e.Reason != call.Unreachable || e.Sent != call.NotSent || !errors.Is(err, tlsutil.ErrDenied) {
		t.Errorf("got %v, want the peer denied and nothing sent", err)
	}
}

// refusingWeb accepts nobody's certificate. It reads on until the client hangs
// up, so that its alert is not lost in a reset.
func refusingWeb(tb testing.TB, ca *tlsutil.DevCA, service string) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	config := tlsutil.ServerConfig(identity(tb, ca, service), tlsutil.AuthorizeService("nobody"), tlsutil.Options{})
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			plain, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer plain.Close()
				if err := tls.Server(plain, config).Handshake(); !errors.Is(err, tlsutil.ErrDenied) {
					tb.Errorf("handshake: %v, want the client denied", err)
				}
				_ = plain.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, plain)
			})
		}
	})
	tb.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return l.Addr().String()
}

// Under TLS 1.3 a client hears that it is refused only when it has sent the request.
// No server has looked at that: even a POST goes to the next instance.
func TestHTTPServerThatRefusesUsHasSeenNothing(t *testing.T) {
	ca := devCA(t)
	var served atomic.Int32
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {refusingWeb(t, ca, "web"), secureWeb(t, ca, "web", counted(&served, mirror))}},
		TLS:       mesh.TLSOptions{Source: identity(t, ca, "checkout")},
	})
	client := m.HTTPClient()
	for range 30 {
		res, err := client.Do(request(t, http.MethodPost, "http://web/", strings.NewReader("hello")))
		if err != nil {
			t.Fatal(err)
		}
		if s := read(t, res); s != "hello" {
			t.Errorf("got %q", s)
		}
	}
	if failures(m) == 0 || served.Load() != 30 {
		t.Errorf("%d refusals, %d served: want some, and 30", failures(m), served.Load())
	}
	client.CloseIdleConnections()
}
