package httpadapter

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/policy"
)

// conns keeps the connections to instances: a line to each member, which is
// dialled whatever the request's URL says. They close when the member leaves.
type conns struct {
	base    *http.Transport
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	tls     func(ctx context.Context, to *policy.Target) (*tls.Config, error)
	log     *slog.Logger
	maxIdle int           // to one instance
	idle    time.Duration // as the base has it, 0 is any
	most    int           // so has the base, 0 is any

	members sync.Map // *cluster.Member to *line

	closing context.Context // ends when no more connections are made
	close   context.CancelFunc

	mu       sync.Mutex
	clusters map[*cluster.Cluster]func() // who is watched, and what ends that
	under    sync.WaitGroup              // way: connections that are being made
}

// terms are the settings of a line that may change while it is in use.
type terms struct {
	connect, unacked time.Duration
	age, idle        time.Duration // 0 is any
	min, most        int           // 0 is any
}

// nature is what a line can not change.
type nature struct {
	protocol string
	ping     time.Duration // 0 is never
}

// maxIdlePerInstance is how many idle HTTP/1.1 connections to one instance are
// kept: with net/http's two, concurrent calls dial again and again.
const maxIdlePerInstance = 256

func newConns(base *http.Transport, secure func(context.Context, *policy.Target) (*tls.Config, error)) *conns {
	c := &conns{base: base.Clone(), dial: base.DialContext, tls: secure, log: slog.Default()}
	c.clusters = make(map[*cluster.Cluster]func())
	c.closing, c.close = context.WithCancel(context.Background())
	if c.dial == nil {
		c.dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	c.maxIdle = max(base.MaxIdleConnsPerHost, maxIdlePerInstance)
	c.idle, c.most = base.IdleConnTimeout, base.MaxConnsPerHost
	c.base.Proxy = nil           // instances are reached directly
	c.base.MaxConnsPerHost = 0   // ours to keep to
	c.base.IdleConnTimeout = 0   // so is this
	c.base.TLSNextProto = nil    // what is spoken is said by the policy
	c.base.DialTLSContext = nil  // TLS is below what net/http sees
	c.base.DialTLS = nil         //nolint:staticcheck // it may be set
	c.base.Dial = nil            //nolint:staticcheck // as before: DialContext alone is lent
	c.base.TLSClientConfig = nil // the mesh's own
	return c
}

// to returns the line to a member.
func (c *conns) to(m *cluster.Member) *line {
	s := m.Cluster.View().Settings
	if found, ok := c.members.Load(m); ok {
		l := found.(*line)
		if l.settings.Load() == s {
			return l
		}
		if l.nature == natureOf(s) {
			l.apply(c.termsOf(s))
			l.settings.Store(s)
			return l
		}
	}
	return c.open(m, s)
}

func natureOf(s *cluster.Settings) nature {
	p := &s.Policy
	return nature{p.HTTP.Protocol, max(time.Duration(p.Connections.Ping), 0)}
}

// termsOf takes the policy's word, and where the base is stricter the base's.
func (c *conns) termsOf(s *cluster.Settings) terms {
	p := &s.Policy.Connections
	t := terms{
		connect: time.Duration(s.Policy.Timeout.Connect), unacked: max(time.Duration(p.Unacked), 0),
		age: max(time.Duration(p.MaxAge), 0), idle: max(time.Duration(p.Idle), 0), min: max(p.Min, 0),
	}
	t.most, _ = p.MaxPerInstance.Bound()
	if lent := c.idle; lent > 0 && (t.idle == 0 || lent < t.idle) {
		t.idle = lent
	}
	if lent := c.most; lent > 0 && (t.most == 0 || lent < t.most) {
		t.most = lent
	}
	return t
}

func (c *conns) open(m *cluster.Member, s *cluster.Settings) *line {
	l := newLine(c, m, natureOf(s))
	l.settings.Store(s)
	c.mu.Lock()
	found, had := c.members.Load(m)
	if had && found.(*line).nature == l.nature { // somebody was quicker
		c.mu.Unlock()
		return found.(*line)
	}
	l.returns = l.quota.Lend(l.reclaim, l.resting)
	c.members.Store(m, l)
	c.mu.Unlock()
	if had {
		found.(*line).leave()
	}
	l.apply(c.termsOf(s))
	m.OnLeave(func() { // at once, and again after the last attempt
		c.members.CompareAndDelete(m, l)
		l.leave()
	})
	c.warm(m.Cluster)
	return l
}

// warm makes lines to all members of a cluster when connections to them are to be
// kept ready, to those that are there and to those that come.
func (c *conns) warm(of *cluster.Cluster) {
	c.mu.Lock()
	if _, known := c.clusters[of]; known || c.closing.Err() != nil {
		c.mu.Unlock()
		return
	}
	c.clusters[of] = of.Watch(func() { c.fill(of) })
	c.mu.Unlock()
	c.fill(of)
}

// fill makes lines to the members that a cluster has now, and forgets it when it
// is closed.
func (c *conns) fill(of *cluster.Cluster) {
	v := of.View()
	switch {
	case errors.Is(v.Error(), cluster.ErrClosed):
		c.mu.Lock()
		delete(c.clusters, of)
		c.mu.Unlock()
	case v.Policy.Connections.Min > 0 && c.closing.Err() == nil:
		for _, m := range v.Members() {
			c.to(m)
		}
	}
}

// begin starts f, which end waits for, unless that has begun.
func (c *conns) begin(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Err() != nil {
		return false
	}
	c.under.Go(f)
	return true
}

func (c *conns) closeIdle() {
	for _, l := range c.members.Range {
		l.(*line).closeIdle()
	}
}

// end makes no more connections, and waits until none is being made. Those that
// carry something are closed when they carry nothing.
func (c *conns) end() {
	c.mu.Lock()
	c.close()
	watched := c.clusters
	c.clusters = nil
	c.mu.Unlock()
	for _, stop := range watched {
		stop()
	}
	for _, l := range c.members.Range {
		l.(*line).leave()
	}
	c.under.Wait()
}

// pinging is what HTTP/2 is told. A base that has an opinion on pings keeps it.
func pinging(base *http.HTTP2Config, after time.Duration) *http.HTTP2Config {
	h := new(http.HTTP2Config)
	if base != nil {
		*h = *base
	}
	if h.SendPingTimeout == 0 {
		h.SendPingTimeout = after
	}
	return h
}
