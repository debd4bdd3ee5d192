package tlsutil

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

// wire is one direction of a connection in memory. Other than net.Pipe it
// holds what was written, as a socket does: with TLS, both ends may write at once.
type wire struct {
	mu     sync.Mutex
	more   sync.Cond
	buf    bytes.Buffer
	closed bool
}

type wireConn struct {
	net.Conn // nil: what is not overridden is not used

	in, out *wire
}

func newWire() (a, b net.Conn) {
	there, back := &wire{}, &wire{}
	there.more.L, back.more.L = &there.mu, &back.mu
	return &wireConn{in: back, out: there}, &wireConn{in: there, out: back}
}

func (c *wireConn) Read(p []byte) (int, error) {
	w := c.in
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.buf.Len() == 0 && !w.closed {
		w.more.Wait()
	}
	if w.buf.Len() == 0 {
		return 0, io.EOF
	}
	return w.buf.Read(p)
}

func (c *wireConn) Write(p []byte) (int, error) {
	w := c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, io.ErrClosedPipe
	}
	defer w.more.Broadcast()
	return w.buf.Write(p)
}

// Close ends both directions; what was written before can still be read.
func (c *wireConn) Close() error {
	for _, w := range []*wire{c.in, c.out} {
		w.mu.Lock()
		w.closed = true
		w.more.Broadcast()
		w.mu.Unlock()
	}
	return nil
}

func (c *wireConn) LocalAddr() net.Addr              { return wireAddr{} }
func (c *wireConn) RemoteAddr() net.Addr             { return wireAddr{} }
func (c *wireConn) SetDeadline(time.Time) error      { return nil }
func (c *wireConn) SetReadDeadline(time.Time) error  { return nil }
func (c *wireConn) SetWriteDeadline(time.Time) error { return nil }

type wireAddr struct{}

func (wireAddr) Network() string { return "wire" }
func (wireAddr) String() string  { return "wire" }
