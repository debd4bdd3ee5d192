package httpadapter

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/policy"
)

// conns keeps the connections to instances: one http.Transport for each member,
// which dials the member whatever the request's URL says. They close when the
// member leaves.
type conns struct {
	base *http.Transport
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	tls  func(ctx context.Context, to *policy.Target) (*tls.Config, error)

	members sync.Map // *cluster.Member to *line
}

// line is the way to one member, and the terms it was made under.
type line struct {
	*http.Transport
	terms terms
}

// terms are the settings that need a new line when they change.
type terms struct {
	protocol string
	connect  time.Duration
}

// maxIdlePerInstance is how many idle HTTP/1.1 connections to one instance are
// kept: with net/http's two, concurrent calls dial again and again.
const maxIdlePerInstance = 256

func newConns(base *http.Transport, secure func(context.Context, *policy.Target) (*tls.Config, error)) *conns {
	c := &conns{base: base.Clone(), dial: base.DialContext, tls: secure}
	if c.dial == nil {
		c.dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	c.base.Proxy = nil // instances are reached directly
	c.base.MaxIdleConns = 0
	c.base.MaxIdleConnsPerHost = max(c.base.MaxIdleConnsPerHost, maxIdlePerInstance)
	return c
}

// to returns the line to a member.
func (c *conns) to(m *cluster.Member) http.RoundTripper {
	p := &m.Cluster.View().Policy
	want := terms{p.HTTP.Protocol, time.Duration(p.Timeout.Connect)}
	if l, ok := c.members.Load(m); ok && l.(*line).terms == want {
		return l.(*line)
	}
	return c.open(m, want)
}

func (c *conns) open(m *cluster.Member, want terms) http.RoundTripper {
	l := &line{c.base.Clone(), want}
	l.Protocols = new(http.Protocols)
	alpn := "http/1.1"
	switch {
	case want.protocol != policy.HTTP2:
		l.Protocols.SetHTTP1(true)
	case c.tls != nil:
		l.Protocols.SetHTTP2(true)
		alpn = "h2"
	default:
		l.Protocols.SetUnencryptedHTTP2(true)
	}
	connect := func(ctx context.Context) (net.Conn, error) { return c.connect(ctx, m.Address, want.connect) }
	l.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return connect(ctx) }
	if c.tls != nil {
		target := &m.Cluster.Target
		secure := func(ctx context.Context) (*tls.Config, error) {
			config, err := c.tls(ctx, target)
			if err != nil {
				return nil, err
			}
			config = config.Clone()
			config.ServerName, config.NextProtos = cmp.Or(target.SNI, target.Service), []string{alpn}
			return config, nil
		}
		l.DialTLSContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return handshake(ctx, m.Address, secure, want.connect, connect)
		}
	}
	if old, had := c.members.Swap(m, l); had {
		old.(*line).CloseIdleConnections()
	}
	m.OnLeave(func() { // at once, and again after the last attempt
		c.members.CompareAndDelete(m, l)
		l.CloseIdleConnections()
	})
	return l
}

func (c *conns) closeIdle() {
	for _, l := range c.members.Range {
		l.(*line).CloseIdleConnections()
	}
}

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

func (c *conns) connect(ctx context.Context, addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := c.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, &ConnectError{addr, err}
	}
	return conn, nil
}

// handshake secures a new connection. Waiting for an identity, dialling and
// handshake each have the whole connect timeout.
func handshake(
	ctx context.Context, addr string, secure func(context.Context) (*tls.Config, error), timeout time.Duration,
	dial func(context.Context) (net.Conn, error),
) (net.Conn, error) {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	config, err := secure(waiting)
	cancel()
	if err != nil {
		return nil, &ConnectError{addr, err}
	}
	plain, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel = context.WithTimeout(ctx, timeout)
	defer cancel()
	conn := tls.Client(plain, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = plain.Close() // the handshake's error says more
		return nil, &ConnectError{addr, err}
	}
	return conn, nil
}

// refusals are the alerts about a client's certificate.
var refusals = [...]tls.AlertError{
	42,  // bad_certificate
	43,  // unsupported_certificate
	44,  // certificate_revoked
	45,  // certificate_expired
	46,  // certificate_unknown
	48,  // unknown_ca
	49,  // access_denied
	116, // certificate_required
}

// refusedUs says whether the instance has refused our certificate. Under TLS 1.3
// we learn that only when we read, the request being under way: our part of the
// handshake ends before the server's. But a server looks at no data before its own
// part is done (RFC 8446, section 4.4: there is no early data here, and neither
// renegotiation nor a certificate after the handshake), so it has seen nothing
// of the request.
//
// Where a reset overtakes the alert nothing is proven; nor where HTTP/2 says only
// that its connection could not be established, with an error of its own.
func refusedUs(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" || op.Err == nil { // how crypto/tls tells an alert; its type is its own
		return false
	}
	told := op.Err.Error()
	return slices.ContainsFunc(refusals[:], func(a tls.AlertError) bool { return a.Error() == told })
}
