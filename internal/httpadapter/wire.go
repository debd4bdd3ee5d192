package httpadapter

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wire is a connection to an instance as net/http is given it. It lies above
// TLS, so that what is written to it is of requests alone: nothing written,
// nothing sent.
type wire struct {
	net.Conn
	secured *tls.ConnectionState // nil in the clear
	written atomic.Int64         // bytes
	reads   atomic.Int64         // how often something came
	broke   atomic.Pointer[error]

	speaks bool          // something was written
	heard  bool          // agreed is closed
	agreed chan struct{} // closed when the other side's settings are in force, nil over HTTP/1.1
	over   sync.Once
	ended  chan struct{}
	onEnd  func()
}

// init makes the wire ready. settings says that the protocol is HTTP/2, where
// each side has settings that the other waits for.
func (w *wire) init(c net.Conn, settings bool, onEnd func()) {
	w.Conn, w.ended, w.onEnd = c, make(chan struct{}), onEnd
	if settings {
		w.agreed = make(chan struct{})
	}
	if t, ok := c.(*tls.Conn); ok {
		s := t.ConnectionState()
		w.secured = &s
	}
}

// Read implements [net.Conn].
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.reads.Add(1)
	}
	if err != nil {
		w.note(err)
	}
	return n, err
}

// Write implements [net.Conn].
func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.written.Add(int64(n))
	if err != nil {
		w.note(err)
	}
	if w.agreed != nil && !w.heard {
		w.agree(p)
	}
	return n, err
}

// ReadFrom implements [io.ReaderFrom]: files go out without being copied.
func (w *wire) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.Conn, r)
	w.written.Add(n)
	return n, err
}

// note keeps the first error that was not our own doing.
func (w *wire) note(err error) {
	if w.broke.Load() == nil && !errors.Is(err, net.ErrClosed) {
		w.broke.Store(&err)
	}
}

// agree closes agreed once we have acknowledged the settings of the other side,
// which RFC 9113, section 6.5.3, has us do as soon as they are in force here.
// What is written at first begins with the preface, later always with a frame.
func (w *wire) agree(p []byte) {
	const frame, settings, ack = 9, 4, 1
	if !w.speaks {
		w.speaks = true
		return
	}
	for len(p) >= frame {
		if p[3] == settings && p[4]&ack != 0 {
			close(w.agreed)
			w.heard = true
			return
		}
		p = p[min(frame+(int(p[0])<<16|int(p[1])<<8|int(p[2])), len(p)):]
	}
}

// Close implements [net.Conn]. A farewell of TLS that nobody reads does not hold
// it up for long.
func (w *wire) Close() error {
	const farewell = 250 * time.Millisecond
	if t, ok := w.Conn.(*tls.Conn); ok {
		timer := time.AfterFunc(farewell, func() { _ = t.NetConn().Close() })
		defer timer.Stop()
	}
	err := w.Conn.Close()
	w.over.Do(func() {
		close(w.ended)
		w.onEnd()
	})
	return err
}

// cause is what has broken the connection, nil if nothing but ourselves.
func (w *wire) cause() error {
	if err := w.broke.Load(); err != nil {
		return *err
	}
	return nil
}
