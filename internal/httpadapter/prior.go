package httpadapter

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// preface is how a client begins that speaks HTTP/2: RFC 9113, section 3.4. The
// server for HTTP/1 reads the first part as a request without headers.
const (
	preface      = "PRI * HTTP/2.0\r\n\r\n" + prefaceAfter
	prefaceAfter = "SM\r\n\r\n"
)

// prefaceWait bounds the wait for the second part.
const prefaceWait = 5 * time.Second

// Prior serves HTTP/2 to clients who begin with it without having negotiated it:
// in plain text, and through Consul's built-in proxy and its sidecars for services
// of protocol tcp, whose TLS negotiates none. A server for HTTP/1 hands such a
// beginning to its handler, who takes the connection over.
//
// The zero value is ready. It is safe for concurrent use. Shutdown or Close end
// what it serves: the server whose handler it is can not, though its Shutdown says
// goodbye to idle clients here as well.
type Prior struct {
	mu      sync.Mutex
	servers map[*http.Server]*priorServer // by the server that accepts
	ended   bool
}

// priorServer serves what one server hands over.
type priorServer struct {
	*http.Server
	conns *handed
	done  chan struct{} // closed when it accepts no more
}

// Handler has next serve such clients too.
func (p *Prior) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.Method != "PRI" || r.URL.Path != "*" || len(r.Header) > 0 {
			next.ServeHTTP(w, r)
			return
		}
		p.take(w, r, next)
	})
}

// Shutdown lets what is under way end, until ctx ends.
func (p *Prior) Shutdown(ctx context.Context) error {
	return p.end(func(s *http.Server) error { return s.Shutdown(ctx) })
}

// Close ends all connections.
func (p *Prior) Close() error { return p.end((*http.Server).Close) }

func (p *Prior) end(how func(*http.Server) error) error {
	p.mu.Lock()
	p.ended = true
	var servers []*priorServer
	for _, s := range p.servers {
		servers = append(servers, s)
	}
	p.mu.Unlock()
	var faults []error
	for _, s := range servers {
		faults = append(faults, how(s.Server))
		<-s.done
	}
	return errors.Join(faults...)
}

// take serves the connection of such a client until it ends.
func (p *Prior) take(w http.ResponseWriter, r *http.Request, next http.Handler) {
	outer, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	s := p.server(outer)
	if s == nil {
		http.Error(w, "the server is closing", http.StatusServiceUnavailable)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil { // somebody has wrapped the writer, and hides that
		http.Error(w, "HTTP/2 without negotiating it is not possible here", http.StatusHTTPVersionNotSupported)
		return
	}
	_ = conn.SetDeadline(time.Now().Add(prefaceWait))
	after := make([]byte, len(prefaceAfter))
	if _, err := io.ReadFull(buffered, after); err != nil || string(after) != prefaceAfter {
		_ = conn.Close() // it is no HTTP/2 after all
		return
	}
	_ = conn.SetDeadline(time.Time{})
	c := &taken{
		Conn: conn, ctx: r.Context(), next: next, tls: r.TLS, closed: make(chan struct{}),
		from: io.MultiReader(strings.NewReader(preface), unread(buffered.Reader), conn),
	}
	if !s.conns.hand(c) {
		_ = conn.Close()
		return
	}
	<-c.closed // the request's context, which has what the program said of the connection, lives as long
}

// server returns the one that serves what outer hands over; nil if all is over.
func (p *Prior) server(outer *http.Server) *priorServer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil
	}
	if s := p.servers[outer]; s != nil {
		return s
	}
	s := &priorServer{conns: &handed{conns: make(chan net.Conn), closed: make(chan struct{})}, done: make(chan struct{})}
	s.Server = &http.Server{ //nolint:gosec // its timeouts are those of the server that accepts
		Handler: http.HandlerFunc(serveTaken),
		ConnContext: func(_ context.Context, c net.Conn) context.Context {
			return context.WithValue(c.(*taken).ctx, takenKey{}, c)
		},
		Protocols: new(http.Protocols),
	}
	s.Protocols.SetUnencryptedHTTP2(true) // what secures it was done before
	if outer != nil {
		s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = outer.ReadTimeout, outer.WriteTimeout, outer.IdleTimeout
		s.MaxHeaderBytes, s.HTTP2, s.ErrorLog = outer.MaxHeaderBytes, outer.HTTP2, outer.ErrorLog
		outer.RegisterOnShutdown(func() {
			_ = s.Shutdown(context.Background()) // ends at the latest with Close
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.servers, outer)
		})
	}
	if p.servers == nil {
		p.servers = map[*http.Server]*priorServer{}
	}
	p.servers[outer] = s
	go func() {
		defer close(s.done)
		_ = s.Serve(s.conns) // until Shutdown or Close
	}()
	return s
}
