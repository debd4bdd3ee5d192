package access

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/innermesh/innermesh/inbound/caller"
)

// Connections are those that are open, and who is at their other end as soon as
// that has asked for something. There is one entry for each open connection, so
// that the server's own bound is theirs. The zero value is empty. It is safe for
// concurrent use.
type Connections struct {
	mu   sync.RWMutex
	open map[string][]*tracked // by the address of the other end: two ports may have the same
}

// tracked is a connection that leaves when it is closed.
type tracked struct {
	net.Conn
	of     *Connections
	remote string
	peer   atomic.Pointer[caller.Caller]
	gone   sync.Once
}

// Track returns the connection such that it is found until it is closed.
func (c *Connections) Track(conn net.Conn) net.Conn {
	t := &tracked{Conn: conn, of: c, remote: conn.RemoteAddr().String()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = make(map[string][]*tracked)
	}
	c.open[t.remote] = append(c.open[t.remote], t)
	return t
}

// Called notes who is at the other end of the connection from that address. who
// has shown the certificate; for whom it speaks does not matter here.
func (c *Connections) Called(remote string, who caller.Caller) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, t := range c.open[remote] {
		if known := t.peer.Load(); known == nil || known.ID != who.ID {
			t.peer.Store(&who)
		}
	}
}

// Cut closes the connections of those who may not have them, and returns how
// many.
func (c *Connections) Cut(may func(caller.Caller) bool) (closed int) {
	asked := make(map[caller.Caller]bool)
	var denied []*tracked
	c.mu.RLock()
	for _, all := range c.open {
		for _, t := range all {
			who := t.peer.Load()
			if who == nil {
				continue
			}
			allowed, known := asked[*who]
			if !known {
				allowed = may(*who)
				asked[*who] = allowed
			}
			if !allowed {
				denied = append(denied, t)
			}
		}
	}
	c.mu.RUnlock()
	for _, t := range denied {
		_ = t.Close() // it ends, whatever it says
	}
	return len(denied)
}

// Len is how many are open.
func (c *Connections) Len() (n int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, all := range c.open {
		n += len(all)
	}
	return n
}

// Close implements [net.Conn].
func (t *tracked) Close() error {
	t.gone.Do(func() {
		t.of.mu.Lock()
		defer t.of.mu.Unlock()
		all := t.of.open[t.remote]
		for n, one := range all {
			if one == t {
				all = append(all[:n:n], all[n+1:]...)
				break
			}
		}
		if len(all) == 0 {
			delete(t.of.open, t.remote)
		} else {
			t.of.open[t.remote] = all
		}
	})
	return t.Conn.Close()
}

// NetConn returns the connection beneath.
func (t *tracked) NetConn() net.Conn { return t.Conn }

// CloseWrite ends what is sent, where the connection can.
func (t *tracked) CloseWrite() error {
	if half, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return t.Close()
}
