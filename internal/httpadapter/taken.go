package httpadapter

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
)

// taken is a connection that was taken over from a server, with what has been
// read of it already.
type taken struct {
	net.Conn
	from io.Reader
	ctx  context.Context //nolint:containedctx // it is the connection's, whose values its requests have
	tls  *tls.ConnectionState
	next http.Handler

	closing sync.Once
	closed  chan struct{}
}

type takenKey struct{}

// Read implements [net.Conn].
func (t *taken) Read(b []byte) (int, error) { return t.from.Read(b) }

// Close implements [net.Conn].
func (t *taken) Close() error {
	err := t.Conn.Close()
	t.closing.Do(func() { close(t.closed) })
	return err
}

// serveTaken serves a request as the server would have done that accepted the
// connection.
func serveTaken(w http.ResponseWriter, r *http.Request) {
	t := r.Context().Value(takenKey{}).(*taken)
	r.TLS = t.tls
	t.next.ServeHTTP(w, r)
}

// unread is what a reader holds in its buffer.
func unread(r *bufio.Reader) io.Reader {
	b, _ := r.Peek(r.Buffered()) // it can not fail
	return bytes.NewReader(bytes.Clone(b))
}

// handed is a listener whose connections are handed to it.
type handed struct {
	conns   chan net.Conn
	closing sync.Once
	closed  chan struct{}
}

// hand returns false if nobody accepts any more.
func (h *handed) hand(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.closed:
		return false
	}
}

// Accept implements [net.Listener].
func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (h *handed) Close() error {
	h.closing.Do(func() { close(h.closed) })
	return nil
}

// Addr implements [net.Listener].
func (h *handed) Addr() net.Addr { return &net.TCPAddr{} }
