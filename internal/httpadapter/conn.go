package httpadapter

import (
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// conn is one connection to an instance. Its line's lock guards all but the
// wire.
type conn struct {
	wire
	cc    *http.ClientConn
	line  *line
	http2 bool

	used    atomic.Bool // it has brought an answer
	slots   int         // how many requests it carries at once
	leases  int         // how many it carries
	retired bool        // it takes no requests: no more, or not yet

	until   time.Duration // when it is too old, 0 is never
	rested  time.Duration // since when it carries nothing
	hint    time.Duration // how long the other side waits for another request, 0 is unknown
	doubted int64         // reads, when an attempt ended in silence; -1 is never
	since   time.Duration // when that was
}

// doubtful is how long a silent connection is only avoided, before it is given
// up.
const doubtful = 15 * time.Second

// isUsable says whether the connection can take a request now. If it never will
// again, dead.
func (c *conn) isUsable(now time.Duration) (usable, dead bool) {
	if c.cc.Err() != nil || c.until != 0 && now >= c.until {
		return false, true
	}
	if c.leases == 0 && c.expires() != 0 && now >= c.expires() {
		return false, true
	}
	if !c.http2 {
		return true, false
	}
	if c.doubted >= 0 {
		if c.reads.Load() == c.doubted {
			return false, now >= c.since+doubtful
		}
		c.doubted = -1
	}
	if c.cc.Available() > 0 {
		return true, false
	}
	// A request whose answer has just ended may still hold its place. If there
	// are fewer than there may be, the other side has said GOAWAY. Requests come
	// and go between the questions.
	dead = c.cc.InFlight() < c.slots && c.cc.Available() == 0 && c.cc.InFlight() < c.slots
	return !dead, dead
}

// expires is when the connection has rested too long, 0 is never.
func (c *conn) expires() time.Duration {
	rest := c.line.terms.idle
	if c.hint > 0 && (rest <= 0 || c.hint < rest) {
		rest = c.hint
	}
	if rest <= 0 {
		return 0
	}
	return c.rested + rest
}

// widen learns how many requests the connection may carry, which the other side
// may change.
func (c *conn) widen() {
	if free := c.cc.Available(); free > 0 {
		c.slots = free + c.cc.InFlight()
	}
}

// doubt notes that an attempt ended though nothing had come since it began. The
// ping that net/http sends with the end of it tells whether anybody is there.
func (c *conn) doubt(reads int64, now time.Duration) {
	if c.http2 && c.doubted < 0 && c.reads.Load() == reads {
		c.doubted, c.since = reads, now
	}
}

// learn takes in what an answer says about its connection.
func (c *conn) learn(res *http.Response) {
	if !c.used.Load() {
		c.used.Store(true)
	}
	if v := res.Header["Keep-Alive"]; len(v) > 0 && !c.http2 {
		c.hint = keepAlive(v[0])
	}
	if res.TLS == nil {
		res.TLS = c.secured
	}
}

// keepAlive reads how long a server waits for another request, and leaves a
// second for what is under way to it. 0 is unknown.
func keepAlive(v string) time.Duration {
	for part := range strings.SplitSeq(v, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if n, err := strconv.ParseUint(value, 10, 31); err == nil && strings.EqualFold(name, "timeout") {
			return max(time.Duration(n)*time.Second-time.Second, time.Second/2)
		}
	}
	return 0
}

// tell lets a trace of the request know which connection it got.
func (c *conn) tell(t *httptrace.ClientTrace, rested, now time.Duration) {
	if t == nil || t.GotConn == nil {
		return
	}
	info := httptrace.GotConnInfo{Conn: &c.wire, Reused: c.used.Load()}
	if info.WasIdle = info.Reused && rested != 0; info.WasIdle {
		info.IdleTime = now - rested
	}
	t.GotConn(info)
}
