package listener

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/tlsutil"
)

// Options say how connections are secured. Config is required.
type Options struct {
	// Config returns the configuration for the next handshake. It may wait for it
	// within ctx, and should return the same one as long as nothing has changed.
	// It must verify peers in VerifyConnection, also those without a certificate.
	Config func(ctx context.Context) (*tls.Config, error)
	// Permissive lets plain text in as well.
	Permissive bool
	// Timeout bounds a handshake, from accepting the connection on. Default: 10 s.
	Timeout time.Duration
	// Limit is how many handshakes may be under way. When that many are, the
	// oldest gives way if a tenth of Timeout has passed, else new ones wait.
	// Default: 1,024.
	Limit int
	// Track returns the connection as it is to be used, from the handshake on, so
	// that somebody knows which are open. Default: as it is.
	Track func(net.Conn) net.Conn
	// Observer hears how handshakes ended. Default: nobody.
	Observer Observer
}

// Observer hears of what a handshake does not tell its caller. It is called from
// many goroutines and must not block.
type Observer interface {
	// Refused says that a peer was not let in, or thrown out if it wanted to
	// renegotiate.
	Refused(reason tlsutil.Reason, from net.Addr, err error)
	// Plaintext says that one was let in without TLS.
	Plaintext(from net.Addr)
}

// How a handshake ends that the peer would have liked to go on.
var (
	errSlow    = fmt.Errorf("handshake: the peer took too long: %w", context.DeadlineExceeded)
	errCrowded = errors.New("handshake: the peer was slow while others waited for its place")
)

// ErrClosed is why handshakes end with their [Handshaker] or [Listener].
var ErrClosed = fmt.Errorf("handshake: %w", net.ErrClosed)

// Handshaker secures connections on the server's side. It is safe for concurrent
// use and starts no goroutine.
type Handshaker struct {
	o      Options
	places *places
	latest atomic.Pointer[derived]
}

// derived is a configuration as it is used here.
type derived struct{ from, use *tls.Config }

// New returns a handshaker.
func New(o Options) *Handshaker {
	o.Timeout, o.Limit = cmp.Or(o.Timeout, 10*time.Second), cmp.Or(o.Limit, 1024)
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	return &Handshaker{o: o, places: newPlaces(o.Limit, o.Timeout/10)}
}

// Handshake returns the connection secured, a [*tls.Conn], or in plain text, a
// [*Plain]. If it fails, or ctx ends before, raw is closed.
func (h *Handshaker) Handshake(ctx context.Context, raw net.Conn) (net.Conn, error) {
	p, err := h.places.enter(ctx)
	if err != nil {
		_ = raw.Close() // nothing was said on it
		return nil, err
	}
	defer p.leave()
	return h.shake(p, raw)
}

// shake is Handshake of one who has a place.
func (h *Handshaker) shake(p *place, raw net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(p.ctx, h.o.Timeout, errSlow)
	defer cancel()
	if h.o.Track != nil {
		raw = h.o.Track(raw)
	}
	w := &wire{Conn: raw, renegotiates: h.renegotiates, records: &records{}}
	conn, err := h.secure(ctx, w)
	if err == nil {
		return conn, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if reason, told := h.reason(w, err); told {
		h.o.Observer.Refused(reason, raw.RemoteAddr(), err)
	}
	w.dismiss(ctx, err)
	return nil, err
}

func (h *Handshaker) secure(ctx context.Context, w *wire) (net.Conn, error) {
	if h.o.Permissive {
		secured, err := w.sniff(ctx)
		if err != nil {
			return nil, err
		}
		if !secured {
			h.o.Observer.Plaintext(w.RemoteAddr())
			return &Plain{w}, nil
		}
	}
	config, err := h.config(ctx)
	if err != nil {
		return nil, err
	}
	conn := tls.Server(w, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	w.settled(conn.ConnectionState().Version)
	return conn, nil
}

// config derives the one to use, once.
func (h *Handshaker) config(ctx context.Context) (*tls.Config, error) {
	from, err := h.o.Config(ctx)
	if err != nil {
		return nil, err
	}
	if d := h.latest.Load(); d != nil && d.from == from {
		return d.use, nil
	}
	use := from.Clone()
	// A client without a certificate is refused by VerifyConnection, which has
	// an error for it; crypto/tls has only a text.
	use.ClientAuth = tls.RequestClientCert
	use.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if w, ok := hello.Conn.(*wire); ok {
			w.greeted(hello.SupportedVersions, use.MinVersion, cmp.Or(use.MaxVersion, tls.VersionTLS13))
		}
		return nil, nil //nolint:nilnil // as crypto/tls wants it: this configuration
	}
	h.latest.Store(&derived{from, use})
	return use, nil
}

// reason classifies a failure; told is false if it is not worth a word: the end of
// this handshaker, or a peer that has said nothing, as those who only look whether
// the port is open.
func (h *Handshaker) reason(w *wire, err error) (reason tlsutil.Reason, told bool) {
	switch {
	case errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled):
		return "", false
	case errors.Is(err, errCrowded):
		return tlsutil.ReasonCrowded, true
	case w.outdated:
		return tlsutil.ReasonVersion, true
	}
	reason = tlsutil.ReasonOf(err)
	if reason == tlsutil.ReasonAborted && w.received == 0 {
		return "", false
	}
	return reason, true
}

func (h *Handshaker) renegotiates(w *wire) {
	h.o.Observer.Refused(tlsutil.ReasonRenegotiation, w.RemoteAddr(), errRenegotiation)
}

type nobody struct{}

func (nobody) Refused(tlsutil.Reason, net.Addr, error) {}
func (nobody) Plaintext(net.Addr)                      {}
