package listener

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Listener is a [net.Listener] whose connections have their handshake behind
// them: each is a [*tls.Conn] or, where plain text is let in, a [*Plain]. Those
// who fail are never seen by Accept.
//
// Close ends its goroutines, and the handshakes under way.
type Listener struct {
	net.Listener
	handshaker *Handshaker

	ctx     context.Context //nolint:containedctx // it is the listener's life
	end     context.CancelCauseFunc
	results chan result
	running sync.WaitGroup
	closing sync.Once
	closed  error
}

type result struct {
	conn net.Conn
	err  error
}

// Listen puts the handshaker before a listener, which it owns from then on.
func (h *Handshaker) Listen(l net.Listener) *Listener {
	s := &Listener{Listener: l, handshaker: h, results: make(chan result)}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	s.running.Go(s.run)
	return s
}

// Accept returns the next connection. Errors of the listener beneath come through,
// one for each call, and the next call goes on; after Close the error is
// [net.ErrClosed].
func (s *Listener) Accept() (net.Conn, error) {
	select {
	case r := <-s.results:
		return r.conn, r.err
	case <-s.ctx.Done():
		return nil, &net.OpError{Op: "accept", Net: s.Addr().Network(), Addr: s.Addr(), Err: net.ErrClosed}
	}
}

// Close stops accepting. Connections that Accept has returned live on.
func (s *Listener) Close() error {
	s.closing.Do(func() {
		s.end(ErrClosed)
		s.closed = s.Listener.Close()
		s.running.Wait()
	})
	return s.closed
}

func (s *Listener) run() {
	for {
		raw, err := s.Listener.Accept()
		if err != nil {
			if !s.hand(result{err: err}) || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		p, err := s.handshaker.places.enter(s.ctx)
		if err != nil {
			_ = raw.Close() // we are closing
			return
		}
		s.running.Go(func() {
			defer p.leave()
			conn, err := s.handshaker.shake(p, raw)
			p.settled()
			if err == nil && !s.hand(result{conn: conn}) {
				_ = conn.Close() // nobody will ask for it any more
			}
		})
	}
}

// hand waits for Accept; it returns false when nobody will call that any more.
func (s *Listener) hand(r result) bool {
	select {
	case s.results <- r:
		return true
	case <-s.ctx.Done():
		return false
	}
}
