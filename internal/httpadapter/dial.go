package httpadapter

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
)

// grow makes a connection for w, who has just begun to wait, if those that are
// being made do not suffice.
func (l *line) grow(ctx context.Context, w *waiter) {
	switch {
	case len(l.waiting) <= l.dialing*l.slots || l.isCalm():
	case l.isFull():
	default:
		l.open++
		l.dialing++
		if !l.conns.begin(func() { l.dial(ctx, w) }) {
			l.open--
			l.dialing--
			l.refuse(&unsentError{errClosing, call.Refused, true})
		}
	}
	l.holdBack()
}

// again makes connections for those who wait, now that there may be more.
func (l *line) again() {
	for len(l.waiting) > l.dialing*l.slots && !l.isCalm() && !l.isFull() {
		l.grow(l.conns.closing, nil)
	}
	l.holdBack()
}

// isFull says whether there may be no more connections to the instance.
func (l *line) isFull() bool { return l.terms.most > 0 && l.open >= l.terms.most }

// isCalm says whether it is too early to try again to make another connection.
func (l *line) isCalm() bool { return l.live > 0 && mono.Now() < l.calm }

// holdBack counts those who wait because there may be no more connections, and
// refuses who is too many.
func (l *line) holdBack() {
	promised := l.dialing * l.slots
	if l.stuck {
		promised = 0
	}
	if len(l.waiting) <= promised || !l.stuck && !l.isFull() {
		return
	}
	for i := promised; i < len(l.waiting); i++ {
		w := l.waiting[i]
		if w.held {
			continue
		}
		if err := l.quota.Queue(); err != nil {
			l.waiting = slices.Delete(l.waiting, i, i+1)
			w.got <- got{err: &unsentError{err, call.Refused, true}}
			i--
			continue
		}
		w.held = true
	}
}

// stick notes that there may be no more connections to all instances together.
func (l *line) stick() {
	if !l.isHTTP2() {
		return // so many calls wait for their admission
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stuck = true
	l.holdBack()
}

// refuse tells all who wait that there will be no connection.
func (l *line) refuse(err error) {
	for len(l.waiting) > 0 {
		l.next().got <- got{err: err}
	}
}

// dial makes a connection for w, or for whoever needs it first.
func (l *line) dial(ctx context.Context, w *waiter) {
	c, err := l.connect(ctx, l.isWanted)
	now := mono.Now()
	l.mu.Lock()
	l.dialing--
	var dead []*conn
	if err == nil {
		dead, err = l.join(c, now)
	}
	if err != nil && !errors.Is(err, errNotNeeded) {
		l.failDial(ctx, w, err, now)
	}
	l.again()
	l.mu.Unlock()
	hangUp(dead)
}

// isWanted says whether anybody waits.
func (l *line) isWanted() bool { return len(l.waiting) > 0 }

// join takes a new connection in. It may be over already.
func (l *line) join(c *conn, now time.Duration) (dead []*conn, err error) {
	select {
	case <-c.ended: // lost was told before the connection was known
		return nil, &ConnectError{l.member.Address, cmp.Or(c.cause(), errHungUp)}
	default:
	}
	l.live++
	l.slots = c.slots
	l.free = append(l.free, c)
	c.rested, c.retired = now, false
	if age := l.terms.age; age > 0 {
		c.until = now + age - time.Duration(rand.Int64N(int64(age)/5+1))
	}
	dead = l.serve(now)
	switch {
	case c.retired && c.leases == 0: // nobody could use it
		return dead, &ConnectError{l.member.Address, cmp.Or(c.cause(), errHungUp)}
	case !c.retired && c.leases == 0:
		dead = l.idle(c, now, dead)
	}
	return dead, nil
}

// failDial tells those who wait for a connection that could not be made: all of
// them over HTTP/2, unless it is over because w, who has asked for it, has gone. While
// there are others, requests over HTTP/2 rather wait for a place there.
func (l *line) failDial(ctx context.Context, w *waiter, err error, now time.Duration) {
	switch {
	case !l.isHTTP2() || ctx.Err() != nil:
	case l.live > 0:
		l.calm = now + time.Second
		return
	default:
		l.refuse(err)
		return
	}
	if i := slices.Index(l.waiting, w); w != nil && i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		l.off(w)
		w.got <- got{err: err}
	}
}

var (
	errHungUp    = errors.New("the other side has closed the new connection at once")
	errClosing   = errors.New("the client is closed")
	errNotNeeded = errors.New("nobody waits for the connection any more")
)

// connect makes a connection, once there may be one and if it is still wanted
// then. It outlives the request that asked for it, up to the connect timeout.
func (l *line) connect(ctx context.Context, wanted func() bool) (c *conn, err error) {
	defer func() {
		if c == nil || c.Conn == nil { // else lost does it
			l.mu.Lock()
			defer l.mu.Unlock()
			l.open--
		}
	}()
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(l.conns.closing, cancel)
	defer stop()
	err = l.quota.Enter(bounded, l.stick)
	l.mu.Lock()
	l.stuck = false
	needed := wanted()
	l.mu.Unlock()
	if err != nil {
		reason := call.Refused
		if bounded.Err() != nil {
			reason = call.Unreachable
		}
		return nil, &unsentError{err, reason, true}
	}
	if !needed {
		l.quota.Leave()
		return nil, errNotNeeded
	}
	c, err = l.establish(context.WithoutCancel(ctx))
	if c.Conn == nil {
		l.quota.Leave()
	}
	return c, err
}
