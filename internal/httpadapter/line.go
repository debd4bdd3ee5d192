package httpadapter

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/policy"
)

// line is the way to one member: the connections to it, those who wait for one,
// and the terms under which they are made. A connection carries one request at a
// time over HTTP/1.1, over HTTP/2 as many as the other side allows; when all are
// full another is made, and whoever waits gets what is there first.
type line struct {
	nature
	conns     *conns
	member    *cluster.Member
	quota     *cluster.Quota
	transport *http.Transport // makes connections, and keeps none
	settings  atomic.Pointer[cluster.Settings]

	mu      sync.Mutex
	terms   terms
	free    []*conn // with room for a request, the one used last at the end
	live    int     // connections that take requests
	open    int     // connections that are not closed, or are being made
	dialing int
	waiting []*waiter
	slots   int           // what the last connection could carry
	calm    time.Duration // no connection is made before, besides those that there are
	stuck   bool          // there may be no more connections to all members together
	leaving bool          // the member has, or another line is used: nothing is kept
	timer   *time.Timer   // closes what has rested too long
	wakes   time.Duration // when it goes off, 0 is never
	short   chan struct{} // says that there may be too few connections
	keeping bool
	returns func() // what was lent
}

// manyStreams is how many requests a connection carries over HTTP/2 before any
// other side was heard.
const manyStreams = 100

func newLine(c *conns, m *cluster.Member, n nature) *line {
	l := &line{
		nature: n, conns: c, member: m, quota: m.Cluster.Quota(),
		transport: c.base.Clone(), slots: 1, short: make(chan struct{}, 1),
	}
	l.transport.DialContext = l.wired
	l.transport.Protocols = new(http.Protocols)
	if l.isHTTP2() {
		l.slots = manyStreams
		l.transport.Protocols.SetUnencryptedHTTP2(true)
		l.transport.HTTP2 = pinging(c.base.HTTP2, l.ping)
	} else {
		l.transport.Protocols.SetHTTP1(true)
	}
	return l
}

// isHTTP2 says which protocol is spoken.
func (l *line) isHTTP2() bool { return l.protocol == policy.HTTP2 }

// waiter is a request that waits for a connection.
type waiter struct {
	got  chan got // has room for one
	held bool     // there may be no more connections
}

type got struct {
	conn *conn
	err  error
}

// take returns a connection that has room for one request, which release gives
// back.
func (l *line) take(ctx context.Context, t *httptrace.ClientTrace) (*conn, error) {
	now := mono.Now()
	l.mu.Lock()
	c, dead := l.pick(now)
	if c != nil {
		rested := c.rested
		l.mu.Unlock()
		hangUp(dead)
		c.tell(t, rested, now)
		return c, nil
	}
	w := &waiter{got: make(chan got, 1)}
	l.waiting = append(l.waiting, w)
	l.grow(ctx, w)
	l.mu.Unlock()
	hangUp(dead)
	select {
	case g := <-w.got:
		if g.err == nil {
			g.conn.tell(t, 0, now)
		}
		return g.conn, g.err
	case <-ctx.Done():
		return nil, l.giveUp(ctx, w)
	}
}

// pick finds a connection with room, and takes a place on it. Those that turn out
// to be dead are to be closed, under no lock.
func (l *line) pick(now time.Duration) (c *conn, dead []*conn) {
	for i, c := range slices.Backward(l.free) {
		usable, over := c.isUsable(now)
		if over {
			dead = l.retire(c, dead)
			continue
		}
		if !usable {
			continue
		}
		if c.leases++; c.leases >= c.slots {
			if c.http2 {
				c.widen()
			}
			if c.leases >= c.slots {
				l.free = slices.Delete(l.free, i, i+1)
			}
		}
		return c, dead
	}
	return nil, dead
}

// release gives a place on a connection back.
func (l *line) release(c *conn) {
	now := mono.Now()
	over := c.cc.Err() != nil || !c.http2 && c.cc.Available() == 0 // under no lock: see lost
	var dead []*conn
	l.mu.Lock()
	full := c.leases >= c.slots
	c.leases--
	switch {
	case c.retired:
		if c.leases == 0 {
			dead = append(dead, c)
		}
	case l.leaving && len(l.waiting) == 0, over:
		dead = l.retire(c, nil)
	default:
		if c.leases == 0 {
			c.rested = now
		}
		if full && c.leases < c.slots { // the other side may want fewer by now
			l.free = append(l.free, c)
		}
		if len(l.waiting) > 0 {
			dead = l.serve(now)
		}
		if c.leases == 0 && !c.retired {
			dead = l.idle(c, now, dead)
		}
	}
	l.mu.Unlock()
	hangUp(dead)
}

// idle decides about a connection that carries nothing.
func (l *line) idle(c *conn, now time.Duration, dead []*conn) []*conn {
	if l.leaving || l.quota.Wanted() || len(l.free) > l.conns.maxIdle && l.live > l.terms.min {
		return l.retire(c, dead)
	}
	at := c.expires()
	if c.until != 0 && (at == 0 || c.until < at) {
		at = c.until
	}
	if at != 0 && (l.wakes == 0 || at < l.wakes) {
		l.wake(at, now)
	}
	return dead
}

// retire has a connection take no further requests, and adds it to those to be
// closed if it carries none.
func (l *line) retire(c *conn, dead []*conn) []*conn {
	if c.retired {
		return dead
	}
	c.retired = true
	l.live--
	if i := slices.Index(l.free, c); i >= 0 {
		l.free = slices.Delete(l.free, i, i+1)
	}
	l.lack()
	if c.leases > 0 {
		return dead
	}
	return append(dead, c)
}

// part lets a connection go that its caller has taken over.
func (l *line) part(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.retire(c, nil) // it carries the caller, for good
}

// lost hears of a connection that is closed. net/http may hold its own lock on the
// connection, so nobody who holds the line's may ask for that.
func (l *line) lost(c *conn) {
	l.quota.Leave()
	l.mu.Lock()
	l.open--
	_ = l.retire(c, nil)
	l.again()
	l.mu.Unlock()
}

// serve gives connections to those who wait, first come, first served.
func (l *line) serve(now time.Duration) (dead []*conn) {
	for len(l.waiting) > 0 {
		c, over := l.pick(now)
		dead = append(dead, over...)
		if c == nil {
			return dead
		}
		l.next().got <- got{conn: c}
	}
	return dead
}

// next takes the one who has waited longest off the list.
func (l *line) next() *waiter {
	w := l.waiting[0]
	l.waiting = slices.Delete(l.waiting, 0, 1)
	l.off(w)
	return w
}

// off counts a waiter out.
func (l *line) off(w *waiter) {
	if w.held {
		w.held = false
		l.quota.Dequeue()
	}
}

// giveUp ends the wait of a request whose time is over.
func (l *line) giveUp(ctx context.Context, w *waiter) error {
	err := ctx.Err()
	l.mu.Lock()
	if w.held { // it was our own limit that it waited for
		full := l.quota.Full()
		if !l.stuck {
			full = &limit.FullError{Name: "connections to " + l.member.Address, Limit: l.terms.most}
		}
		err = fmt.Errorf("%w (%w)", err, full)
	}
	i := slices.Index(l.waiting, w)
	if i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		l.off(w)
	}
	l.mu.Unlock()
	if i < 0 { // it was given something at the same moment
		if g := <-w.got; g.conn != nil {
			l.release(g.conn)
		}
	}
	return &unsentError{
		fmt.Errorf("wait for a connection to %s: %w", l.member.Address, err), call.Unreachable, true,
	}
}

// sweep closes what has rested too long or is too old.
func (l *line) sweep() {
	now := mono.Now()
	var dead []*conn
	l.mu.Lock()
	l.wakes = 0
	next := time.Duration(0)
	for _, c := range slices.Backward(l.free) {
		if c.leases > 0 {
			continue
		}
		at := c.expires()
		if at != 0 && at <= now && l.live <= l.terms.min && c.hint == 0 {
			c.rested, at = now, now+l.terms.idle
		}
		switch {
		case c.until != 0 && now >= c.until, at != 0 && at <= now:
			dead = l.retire(c, dead)
			continue
		case at == 0, c.until != 0 && c.until < at:
			at = c.until
		}
		if at != 0 && (next == 0 || at < next) {
			next = at
		}
	}
	if next != 0 && !l.leaving {
		l.wake(next, now)
	}
	l.mu.Unlock()
	hangUp(dead)
}

// wake has sweep called at a time.
func (l *line) wake(at, now time.Duration) {
	l.wakes = at
	if l.timer == nil {
		l.timer = time.AfterFunc(at-now, l.sweep)
	} else {
		l.timer.Reset(at - now)
	}
}

// reclaim closes the connection that has rested longest, for somebody who needs
// one to another member.
func (l *line) reclaim() bool {
	l.mu.Lock()
	var dead []*conn
	for _, c := range l.free {
		if c.leases == 0 {
			dead = l.retire(c, nil)
			break
		}
	}
	l.mu.Unlock()
	hangUp(dead)
	return len(dead) > 0
}

// resting counts the connections that carry nothing.
func (l *line) resting() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.free {
		if c.leases == 0 {
			n++
		}
	}
	return n
}

// closeIdle closes what carries nothing.
func (l *line) closeIdle() {
	l.mu.Lock()
	dead := l.rid()
	l.mu.Unlock()
	hangUp(dead)
}

func (l *line) rid() (dead []*conn) {
	for _, c := range slices.Clone(l.free) {
		if c.leases == 0 {
			dead = l.retire(c, dead)
		}
	}
	return dead
}

// leave keeps nothing from now on. What is under way may finish, and who still
// comes is served.
func (l *line) leave() {
	l.mu.Lock()
	l.leaving = true
	dead := l.rid()
	if l.timer != nil {
		l.timer.Stop()
	}
	l.lack()
	l.mu.Unlock()
	hangUp(dead)
	l.returns()
}

// hangUp closes connections, under no lock: it may take a moment, and closed
// connections are told of.
func hangUp(dead []*conn) {
	for _, c := range dead {
		_ = c.cc.Close()
	}
}

// apply puts the terms in force that the member's policy has now.
func (l *line) apply(t terms) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.terms = t
	l.again()
	l.lack()
	l.keep()
}
