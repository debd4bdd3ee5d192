package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"time"
)

// The types of TLS records that matter here: RFC 8446, section 5.1.
const (
	recordHandshake = 22
	recordHeader    = 5
)

// linger is how long a refused peer may take to read why, before the connection
// is closed under what it has sent: a reset would overtake the alert.
const linger = time.Second

var errRenegotiation = errors.New("the peer wanted to renegotiate, which is never done")

// hint is for those who send HTTP to a port that speaks TLS only.
const hint = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\nthis port speaks mutual TLS only\n"

// wire is the connection under TLS. One goroutine reads at a time.
type wire struct {
	net.Conn
	head     []byte // was looked at, but not read yet
	received int    // bytes, while records are followed
	outdated bool   // the peer knows no version that is wanted

	// Under TLS 1.2 everybody sees the types of records, and so what begins a
	// renegotiation; crypto/tls refuses that without telling.
	renegotiates func(*wire)
	records      *records // nil when it is known to be TLS 1.3 or plain text
}

// Read implements [net.Conn].
func (w *wire) Read(b []byte) (n int, err error) {
	if len(w.head) > 0 {
		n = copy(b, w.head)
		w.head = w.head[n:]
		return n, nil
	}
	n, err = w.Conn.Read(b)
	if w.records != nil {
		w.received += n
		if w.records.see(b[:n]) {
			w.renegotiates(w)
		}
	}
	return n, err
}

// CloseWrite ends what is sent, where the connection can.
func (w *wire) CloseWrite() error {
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return w.Close()
}

// NetConn returns the connection as it was accepted.
func (w *wire) NetConn() net.Conn { return w.Conn }

// sniff says whether the peer begins with TLS.
func (w *wire) sniff(ctx context.Context) (secured bool, err error) {
	stop := context.AfterFunc(ctx, func() { _ = w.SetReadDeadline(time.Unix(1, 0)) })
	first := make([]byte, 1)
	_, err = io.ReadFull(w, first)
	if !stop() { // then the deadline has struck, or is about to
		return false, context.Cause(ctx)
	}
	if err != nil {
		return false, err
	}
	w.head = first
	if secured = first[0] == recordHandshake; !secured {
		w.records = nil
	}
	return secured, nil
}

// greeted notes whether the peer knows a version that is wanted. If not,
// crypto/tls refuses it, with the right alert.
func (w *wire) greeted(offered []uint16, lowest, highest uint16) {
	w.outdated = !slices.ContainsFunc(offered, func(v uint16) bool { return lowest <= v && v <= highest })
}

// settled says that the handshake is over, and which version it came to.
func (w *wire) settled(version uint16) {
	w.records.armed = true
	if version >= tls.VersionTLS13 {
		w.records = nil
	}
}

// dismiss closes the connection of a refused peer, such that it can read why.
func (w *wire) dismiss(ctx context.Context, why error) {
	defer w.Close() // a refused peer's connection has nothing to lose
	if ctx.Err() != nil {
		return
	}
	if plain, ok := errors.AsType[tls.RecordHeaderError](why); ok && isHTTP(plain.RecordHeader) {
		_ = w.SetWriteDeadline(time.Now().Add(linger))
		_, _ = io.WriteString(w.Conn, hint) // it may have gone, and need no hint
	}
	if w.CloseWrite() != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = w.Close() })
	defer stop()
	if w.SetReadDeadline(time.Now().Add(linger)) == nil {
		_, _ = io.CopyN(io.Discard, w.Conn, 1<<16) // its length and end are all the same to us
	}
}

// isHTTP says whether a request of HTTP begins like that.
func isHTTP(head [recordHeader]byte) bool {
	begins := []string{"GET /", "HEAD ", "POST ", "PUT /", "PATCH", "DELET", "OPTIO", "PRI *"}
	return slices.Contains(begins, string(head[:]))
}

// records follows the stream of TLS records by their headers.
type records struct {
	head  [recordHeader]byte
	n     int  // bytes of head that are known
	left  int  // bytes of the record's body that are to come
	armed bool // the handshake is over
}

// see says whether a handshake begins in b although there was one, the first time.
func (r *records) see(b []byte) bool {
	found := false
	for len(b) > 0 {
		if r.left > 0 {
			skip := min(r.left, len(b))
			r.left -= skip
			b = b[skip:]
			continue
		}
		n := copy(r.head[r.n:], b)
		r.n += n
		b = b[n:]
		if r.n < recordHeader {
			break
		}
		r.n, r.left = 0, int(r.head[3])<<8|int(r.head[4])
		found = found || r.head[0] == recordHandshake
	}
	if !found || !r.armed {
		return false
	}
	r.armed = false
	return true
}

// Plain is a connection in plain text that came where TLS would have been liked.
type Plain struct{ *wire }
