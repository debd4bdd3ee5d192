package httpadapter_test

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/innermesh/innermesh/policy"
)

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

// Connections that are too old are exchanged, one after the other as their ages
// are drawn, and no call notices; once nobody calls, they are closed.
func TestMaxAge(t *testing.T) {
	for _, protocol := range []string{policy.HTTP1, policy.HTTP2} {
		t.Run(protocol, func(t *testing.T) {
			const age = 60 * time.Millisecond
			p := over(protocol, policy.Connections{MaxAge: policy.Duration(age)})
			p.Retry.Attempts = 1
			s := newStage(t, p, serve(t, 1, hello))
			for began := time.Now(); time.Since(began) < 6*age; {
				if failed := s.many(t, 4); len(failed) > 0 {
					t.Fatalf("%d failed while connections were exchanged: %v", len(failed), failed[0])
				}
			}
			if n := s.made.Load(); n < 6 {
				t.Errorf("%d connections were made in six times their age", n)
			}
			eventually(t, "the last are closed", func() bool { return s.open.Load() == 0 })
		})
	}
}

// As many connections as are wanted are made before they are needed, to all
// instances, and made again when they are lost.
func TestMinIsKept(t *testing.T) {
	for _, protocol := range []string{policy.HTTP1, policy.HTTP2} {
		t.Run(protocol, func(t *testing.T) {
			s := newStage(t, over(protocol, policy.Connections{Min: 3}), serve(t, 0, hello), serve(t, 0, hello))
			if _, err := s.get(t, "/"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "three to each", func() bool { return s.open.Load() == 6 })
			s.client.CloseIdleConnections()
			eventually(t, "three to each again", func() bool { return s.made.Load() > 6 && s.open.Load() == 6 }) // some may not have been at rest yet
		})
	}
}

// What has rested long enough is closed, though nobody calls.
func TestIdleIsSwept(t *testing.T) {
	for _, protocol := range []string{policy.HTTP1, policy.HTTP2} {
		t.Run(protocol, func(t *testing.T) {
			s := newStage(t, over(protocol, policy.Connections{Idle: policy.Duration(100 * time.Millisecond)}), serve(t, 1, hello))
			began := time.Now()
			if failed := s.many(t, 5); len(failed) > 0 {
				t.Fatal(failed[0])
			}
			eventually(t, "all are closed", func() bool { return s.open.Load() == 0 })
			if rested := time.Since(began); rested < 100*time.Millisecond {
				t.Errorf("closed after %v", rested)
			}
		})
	}
}

// A server that waits for a second only is believed, with some time to spare.
func TestKeepAliveHint(t *testing.T) {
	s := newStage(t, over(policy.HTTP1, policy.Connections{}), serve(t, 0, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Keep-Alive", "timeout=1, max=100")
		hello(w, r)
	}))
	began := time.Now()
	if _, err := s.get(t, "/"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection is closed", func() bool { return s.open.Load() == 0 })
	if rested := time.Since(began); rested < 400*time.Millisecond || rested > 10*time.Second {
		t.Errorf("closed after %v", rested)
	}
}

// When an instance leaves, what is under way there finishes; then its connections
// are closed, and those at rest at once.
func TestDrainOfOneThatLeaves(t *testing.T) {
	for _, protocol := range []string{policy.HTTP1, policy.HTTP2} {
		t.Run(protocol, func(t *testing.T) {
			g := newGate()
			leaving, stays := serve(t, 1, g.ServeHTTP), serve(t, 1, hello)
			s := newStage(t, over(protocol, policy.Connections{}), leaving)
			done := make(chan error, 1)
			go func() { _, err := s.get(t, "/"); done <- err }()
			eventually(t, "it is there", func() bool { return g.waiting.Load() == 1 })
			s.are(t, stays)
			u, err := s.directory.Get("web")
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the other is known", func() bool { m := u.Members(); return len(m) == 1 && m[0].Address == stays })
			if text, err := s.get(t, "/"); text != "hello" {
				t.Fatalf("got %q, %v", text, err)
			}
			if n := s.open.Load(); n != 2 || g.waiting.Load() != 1 {
				t.Errorf("%d connections, %d under way, while one drains", n, g.waiting.Load())
			}
			close(g.open)
			if err := <-done; err != nil {
				t.Errorf("what was under way has failed: %v", err)
			}
			eventually(t, "one connection is left", func() bool { return s.open.Load() == 1 })
		})
	}
}

// The other side of a connection that falls silent in the middle of a call is
// asked whether it is there, and found out.
func TestPingFindsTheSilent(t *testing.T) {
	var pinged atomic.Int64
	p := over(policy.HTTP2, policy.Connections{Ping: policy.Duration(time.Second)})
	p.Retry.Attempts = 1
	s := newStage(t, p, newH2(t, func(c *h2conn, _ int) {
		_ = c.WriteSettings()
		_ = c.next()
		for {
			f, err := c.ReadFrame()
			if err != nil {
				return
			}
			switch f.(type) {
			case *http2.PingFrame:
				pinged.Add(1)
				_ = c.conn.Close()
				return
			case *http2.RSTStreamFrame:
				return // the call has ended by itself, which is followed by a ping of its own
			default:
			}
		}
	}))
	if _, err := s.get(t, "/"); err == nil || pinged.Load() == 0 {
		t.Errorf("got %v after %d pings", err, pinged.Load())
	}
}
