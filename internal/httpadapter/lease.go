package httpadapter

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
)

// lease is an attempt's hold on its connection, and the body of its answer: the
// connection is given back when that has been read or closed.
type lease struct {
	body io.ReadCloser
	conn atomic.Pointer[conn] // an answer may be read and closed from two goroutines
}

// Read implements [io.Reader].
func (l *lease) Read(p []byte) (int, error) {
	n, err := l.body.Read(p)
	if err != nil {
		l.end()
	}
	return n, err
}

// Close implements [io.Closer].
func (l *lease) Close() error {
	err := l.body.Close()
	l.end()
	return err
}

func (l *lease) end() {
	if c := l.conn.Swap(nil); c != nil {
		c.line.release(c)
	}
}

// send makes one attempt on a connection of the line. What is found to be dead
// before anything was written is no attempt: another connection is taken.
func (l *line) send(r *http.Request, on *lease) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(r.Context())
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(l.member.Address)
	}
	for {
		c, err := l.take(r.Context(), trace)
		if err != nil {
			closeBody(r)
			return nil, err
		}
		used, written, reads := c.used.Load(), c.written.Load(), c.reads.Load()
		res, err := c.cc.RoundTrip(r)
		if err == nil {
			return l.hold(c, res, on), nil
		}
		over := r.Context().Err() != nil
		unsent := c.unsent(err, written, over)
		if over {
			l.doubt(c, reads)
		}
		l.release(c)
		if !c.http2 {
			closeBody(r) // net/http does not, if the connection broke before it looked at the request
		}
		switch {
		case unsent == nil:
			return nil, err
		case !over && used && unsent.nothing && unsent.reason == call.Unreachable && renew(r):
			continue
		default:
			return nil, unsent
		}
	}
}

// renew gives the request a body that was not read, if that is possible.
func renew(r *http.Request) bool {
	if r.Body == nil || r.Body == http.NoBody {
		return true
	}
	if r.GetBody == nil {
		return false
	}
	body, err := r.GetBody()
	if err == nil {
		r.Body = body
	}
	return err == nil
}

// hold ties an answer to its connection.
func (l *line) hold(c *conn, res *http.Response, on *lease) *http.Response {
	c.learn(res)
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		l.part(c)
	case res.Body == nil || res.Body == http.NoBody:
		l.release(c)
	default:
		on.body = res.Body
		on.conn.Store(c)
		res.Body = on
	}
	return res
}

// doubt notes that an attempt has ended in silence.
func (l *line) doubt(c *conn, reads int64) {
	now := mono.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	c.doubt(reads, now)
}
