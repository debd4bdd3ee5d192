package httpadapter

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// writer is what the handler writes its answer to. It can what net/http's own can:
// handlers look for that.
func (v *visit) writer() http.ResponseWriter {
	_, flushes := v.w.(http.Flusher)
	_, hijacks := v.w.(http.Hijacker)
	_, reads := v.w.(io.ReaderFrom)
	switch {
	case flushes && hijacks && reads: // HTTP/1
		return wholeWriter{flushWriter{plainWriter{v}}}
	case flushes: // HTTP/2
		return flushWriter{plainWriter{v}}
	default:
		return plainWriter{v}
	}
}

// head notes that the head of the answer goes out, and adds what it tells.
func (v *visit) head(status int) {
	if v.status != 0 || v.taken {
		return
	}
	v.status = status
	v.tellLoad()
}

// plainWriter can no more than every writer can.
type plainWriter struct{ v *visit }

// Unwrap is what http.ResponseController looks for.
func (w plainWriter) Unwrap() http.ResponseWriter { return w.v.w }

// Header implements [http.ResponseWriter].
func (w plainWriter) Header() http.Header { return w.v.w.Header() }

// WriteHeader implements [http.ResponseWriter].
func (w plainWriter) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols { // others come before the answer
		w.v.head(status)
	}
	w.v.w.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w plainWriter) Write(p []byte) (int, error) {
	w.v.head(http.StatusOK)
	return w.v.w.Write(p)
}

// WriteString implements [io.StringWriter].
func (w plainWriter) WriteString(s string) (int, error) {
	w.v.head(http.StatusOK)
	return io.WriteString(w.v.w, s)
}

// flushWriter can send what there is so far.
type flushWriter struct{ plainWriter }

// Flush implements [http.Flusher].
func (w flushWriter) Flush() {
	_ = w.FlushError() // who wants to know asks for it
}

// FlushError is what http.ResponseController looks for.
func (w flushWriter) FlushError() error {
	w.v.head(http.StatusOK)
	w.v.server.Answered(&w.v.arrival)
	return http.NewResponseController(w.v.w).Flush()
}

// wholeWriter can all that net/http's can over HTTP/1.
type wholeWriter struct{ flushWriter }

// Hijack implements [http.Hijacker].
func (w wholeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.v.w).Hijack()
	if err == nil {
		w.v.taken = true
		w.v.server.Answered(&w.v.arrival)
	}
	return conn, rw, err
}

// ReadFrom implements [io.ReaderFrom], which lets files go out without a copy.
func (w wholeWriter) ReadFrom(r io.Reader) (int64, error) {
	w.v.head(http.StatusOK)
	return io.Copy(w.v.w, r)
}
