package mesh_test

import (
	"errors"
	"io"
	"net/http"
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
