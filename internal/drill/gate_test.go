package drill

import (
	"io"
	"net"
	"sync"
	"testing"
)

// gate is the way from the backends to their agent. While it is shut their
// connections break, and Consul hears of none of them.
type gate struct {
	addr, agent string
	listener    net.Listener
	work        sync.WaitGroup

	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]struct{}
}

// newGate stands open until the test ends.
func newGate(t *testing.T, agent string) *gate {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{addr: listener.Addr().String(), agent: agent, listener: listener, conns: map[net.Conn]struct{}{}}
	g.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			g.work.Go(func() { g.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close() // nothing to lose
		g.set(true)
		g.work.Wait()
	})
	return g
}

// set shuts the gate or opens it.
func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	if shut {
		for conn := range g.conns {
			_ = conn.Close() // that is the purpose
		}
	}
}

// enter takes note of a connection, if it may pass.
func (g *gate) enter(conn net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		g.conns[conn] = struct{}{}
	}
	return !g.shut
}

func (g *gate) leave(conn net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, conn)
	_ = conn.Close() // perhaps it was already
}

func (g *gate) carry(conn net.Conn) {
	defer g.leave(conn)
	if !g.enter(conn) {
		return
	}
	agent, err := net.Dial("tcp", g.agent)
	if err != nil {
		return
	}
	defer g.leave(agent)
	if !g.enter(agent) {
		return
	}
	g.work.Go(func() {
		_, _ = io.Copy(agent, conn)
		_ = agent.Close() // one direction is of no use
	})
	_, _ = io.Copy(conn, agent)
}
