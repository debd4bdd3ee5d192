package httpadapter

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"time"

	"github.com/innermesh/innermesh/internal/tcp"
)

// ConnectError says that no connection to an instance could be made, so that
// nothing of the request was sent.
type ConnectError struct {
	Address string
	Err     error
}

// Error names the instance and what went wrong.
func (e *ConnectError) Error() string { return fmt.Sprintf("connect to %s: %v", e.Address, e.Err) }

// Unwrap returns what went wrong.
func (e *ConnectError) Unwrap() error { return e.Err }

// establish makes one connection. If there is none in the end, that of the system
// is closed, if it came to that.
//
// net/http is told that the connection is in the clear, and which protocol is
// spoken on it: TLS is our own business, below the wire.
func (l *line) establish(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(l.conns.closing, cancel)
	defer stop()
	c := &conn{line: l, http2: l.isHTTP2(), slots: 1, doubted: -1, retired: true}
	made, err := l.transport.NewClientConn(context.WithValue(ctx, connKey{}, c), "http", "instance:80")
	if err != nil {
		return c, connectError(l.member.Address, err)
	}
	c.cc = made
	if !c.http2 {
		return c, nil
	}
	if err := l.settle(ctx, c); err != nil {
		_ = made.Close()
		return c, err
	}
	return c, nil
}

// connKey is how the transport of a line finds the connection that it dials for.
type connKey struct{}

// wired makes the connection that net/http asks for.
func (l *line) wired(ctx context.Context, _, _ string) (net.Conn, error) {
	c := ctx.Value(connKey{}).(*conn)
	l.mu.Lock()
	t := l.terms
	l.mu.Unlock()
	var made net.Conn
	var err error
	if l.conns.tls == nil {
		made, err = l.plain(ctx, t)
	} else {
		made, err = l.secure(ctx, t)
	}
	if err != nil {
		return nil, err
	}
	c.init(made, c.http2, func() { l.lost(c) })
	return &c.wire, nil
}

// plain dials.
func (l *line) plain(ctx context.Context, t terms) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.connect)
	defer cancel()
	made, err := l.conns.dial(ctx, "tcp", l.member.Address)
	if err != nil {
		return nil, &ConnectError{l.member.Address, err}
	}
	if err := tcp.SetUnacked(made, t.unacked); err != nil {
		l.conns.log.Debug("a dead peer will be noticed late", "address", l.member.Address, "error", err)
	}
	return made, nil
}

// secure dials, and secures the connection. Waiting for an identity, dialling and
// handshake each have the whole connect timeout.
func (l *line) secure(ctx context.Context, t terms) (net.Conn, error) {
	config, err := l.config(ctx, t.connect)
	if err != nil {
		return nil, &ConnectError{l.member.Address, err}
	}
	plain, err := l.plain(ctx, t)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, t.connect)
	defer cancel()
	made := tls.Client(plain, config)
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	err = made.HandshakeContext(limited)
	if trace != nil && trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(made.ConnectionState(), err)
	}
	if err != nil {
		_ = plain.Close() // the handshake's error says more
		return nil, &ConnectError{l.member.Address, err}
	}
	return made, nil
}

// config is what a connection to the member is secured with.
func (l *line) config(ctx context.Context, within time.Duration) (*tls.Config, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	target := &l.member.Cluster.Target
	config, err := l.conns.tls(ctx, target)
	if err != nil {
		return nil, err
	}
	config = config.Clone()
	config.ServerName, config.NextProtos = cmp.Or(target.SNI, target.Service), []string{"http/1.1"}
	if l.isHTTP2() {
		config.NextProtos = []string{"h2"}
	}
	return config, nil
}

// settle waits for the settings of the other side, which say how many requests
// the connection carries, and that somebody is there. Before that nothing was
// sent.
func (l *line) settle(ctx context.Context, c *conn) error {
	l.mu.Lock()
	within := l.terms.connect
	l.mu.Unlock()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-c.agreed:
	case <-c.ended:
		return &ConnectError{l.member.Address, cmp.Or(c.cause(), errNoSettings)}
	case <-timer.C:
		return &ConnectError{l.member.Address, fmt.Errorf("no HTTP/2 settings within %v: %w", within, context.DeadlineExceeded)}
	case <-ctx.Done():
		return &ConnectError{l.member.Address, context.Cause(ctx)}
	}
	c.slots = c.cc.Available()
	if c.slots == 0 {
		return &ConnectError{l.member.Address, cmp.Or(c.cause(), errNoStreams)}
	}
	return nil
}

var (
	errNoSettings = errors.New("the new connection has ended without settings of HTTP/2: does the other side speak it?")
	errNoStreams  = errors.New("the other side takes no request on its new connection")
)

// connectError says of an error that it came while connecting, if it does not
// itself.
func connectError(address string, err error) error {
	if _, ok := errors.AsType[*ConnectError](err); ok {
		return err
	}
	return &ConnectError{address, err}
}
