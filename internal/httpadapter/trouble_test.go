package httpadapter_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/policy"
)

// A GOAWAY that leaves a request out proves that nobody has looked at it: even one
// that is not idempotent is sent again, on another connection, and what was taken
// on is finished.
func TestGoAway(t *testing.T) {
	var seen atomic.Int64
	s := newStage(t, over(policy.HTTP2, policy.Connections{}), newH2(t, func(c *h2conn, n int) {
		_ = c.WriteSettings()
		first := c.next()
		if n > 1 {
			for ; first != 0; first = c.next() {
				seen.Add(1)
				c.answer(first, "second")
			}
			return
		}
		second := c.next()
		if second == 0 {
			return
		}
		_ = c.WriteGoAway(first, http2.ErrCodeNo, nil)
		seen.Add(1)
		c.answer(first, "first")
		_ = c.next()
	}))
	var mu sync.Mutex
	words := map[string]int{}
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			res, err := s.ask(t, http.MethodPost, "/", nil)
			if err != nil {
				t.Error(err)
				return
			}
			text, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			words[string(text)]++
		})
	}
	all.Wait()
	if words["first"] != 1 || words["second"] != 1 || seen.Load() != 2 {
		t.Errorf("answered %v, %d taken on", words, seen.Load())
	}
	eventually(t, "the connection that said GOAWAY is closed", func() bool { return s.open.Load() == 1 })
}

// After a GOAWAY on a connection that rests, the next request goes out on another.
func TestGoAwayWhileIdle(t *testing.T) {
	bye := make(chan struct{}, 1)
	said := make(chan struct{}, 1)
	s := newStage(t, over(policy.HTTP2, policy.Connections{}), newH2(t, func(c *h2conn, n int) {
		_ = c.WriteSettings()
		c.answer(c.next(), fmt.Sprint(n))
		if n == 1 {
			<-bye
			_ = c.WriteGoAway(1, http2.ErrCodeNo, nil)
			_ = c.WritePing(false, [8]byte{1})
			if f, err := c.ReadFrame(); err == nil { // it has been read
				_ = f
			}
			said <- struct{}{}
		}
		for id := c.next(); id != 0; id = c.next() {
			if n == 1 {
				t.Error("a request after GOAWAY")
			}
			c.answer(id, fmt.Sprint(n))
		}
	}))
	for want := 1; want <= 2; want++ {
		res, err := s.ask(t, http.MethodPost, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if string(text) != fmt.Sprint(want) {
			t.Errorf("answered on connection %s, want %d", text, want)
		}
		if want == 1 {
			bye <- struct{}{}
			<-said
		}
	}
}

// REFUSED_STREAM proves the same; each attempt is counted.
func TestRefusedStream(t *testing.T) {
	var taken atomic.Int64
	s := newStage(t, over(policy.HTTP2, policy.Connections{}), newH2(t, func(c *h2conn, _ int) {
		_ = c.WriteSettings()
		for id := c.next(); id != 0; id = c.next() {
			if taken.Add(1) < 3 {
				_ = c.WriteRSTStream(id, http2.ErrCodeRefusedStream)
				continue
			}
			c.answer(id, "third")
		}
	}))
	res, err := s.ask(t, http.MethodPost, "/", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if attempts := s.attempts(t); attempts != 3 || taken.Load() != 3 || s.made.Load() != 1 {
		t.Errorf("%d attempts counted, %d seen by the server, %d connections: want 3, 3, 1", attempts, taken.Load(), s.made.Load())
	}
}

// attempts is what the instances were told of, all together.
func (s *stage) attempts(t *testing.T) (n uint64) {
	t.Helper()
	u, err := s.directory.Get("web")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range u.Clusters() {
		for _, i := range c.Status().Instances {
			n += i.Attempts
		}
	}
	return n
}

// A server that accepts and never says anything: over HTTP/2 no request is sent at
// all, and other instances are asked.
func TestNeverAnswers(t *testing.T) {
	silent := newH2(t, func(c *h2conn, _ int) { _, _ = io.Copy(io.Discard, c.conn) })
	p := over(policy.HTTP2, policy.Connections{})
	p.Timeout.Connect = policy.Duration(50 * time.Millisecond)
	p.Retry.Attempts = 1
	s := newStage(t, p, silent)
	_, err := s.ask(t, http.MethodPost, "/", strings.NewReader("x"))
	if e := failure(t, err); e.Reason != call.Unreachable || e.Sent != call.NotSent {
		t.Errorf("got %v, %v", err, e.Sent)
	}
	eventually(t, "the connection is closed", func() bool { return s.open.Load() == 0 })
}

// A connection on which an attempt ended in silence takes no other requests until
// something is heard on it.
func TestSilentConnectionIsAvoided(t *testing.T) {
	s := newStage(t, func() policy.Service {
		p := over(policy.HTTP2, policy.Connections{})
		p.Retry.Attempts = 1
		p.Timeout = policy.Timeout{Total: policy.Duration(100 * time.Millisecond), PerTry: policy.Off}
		return p
	}(), newH2(t, func(c *h2conn, n int) {
		_ = c.WriteSettings()
		if n == 1 {
			c.answer(c.next(), "1")
			_, _ = io.Copy(io.Discard, c.conn) // from now on it is dead
			return
		}
		for id := c.next(); id != 0; id = c.next() {
			c.answer(id, fmt.Sprint(n))
		}
	}))
	if text, err := s.get(t, "/"); text != "1" {
		t.Fatal(text, err)
	}
	if _, err := s.get(t, "/"); failure(t, err).Reason != call.Expired {
		t.Errorf("got %v", err)
	}
	for range 3 {
		if text, err := s.get(t, "/"); text != "2" {
			t.Errorf("answered by connection %q: %v", text, err)
		}
	}
}

// One that was silent because its answer is late is used again, as the other side
// answers the ping that came with the end of the attempt.
func TestLateAnswerIsNoSilence(t *testing.T) {
	s := newStage(t, func() policy.Service {
		p := over(policy.HTTP2, policy.Connections{})
		p.Retry.Attempts = 1
		p.Timeout = policy.Timeout{Total: policy.Duration(100 * time.Millisecond), PerTry: policy.Off}
		return p
	}(), serve(t, 0, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			<-r.Context().Done()
		}
		_, _ = io.WriteString(w, "here")
	}))
	if _, err := s.get(t, "/late"); failure(t, err).Reason != call.Expired {
		t.Errorf("got %v", err)
	}
	eventually(t, "the connection is used again", func() bool {
		before := s.made.Load()
		text, err := s.get(t, "/")
		return err == nil && text == "here" && s.made.Load() == before
	})
}

// rude is a server for HTTP/1.1 that resets its connections while they rest, at
// some moment or other. It knows who asked what, by the body.
type rude struct {
	mu   sync.Mutex
	seen map[string]int
}

func (r *rude) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.seen[string(body)]++
		r.mu.Unlock()
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			return
		}
		if rand.IntN(3) == 0 {
			timer := time.NewTimer(time.Duration(rand.Int64N(int64(300 * time.Microsecond))))
			<-timer.C
			if in.Buffered() > 0 && rand.IntN(2) == 0 {
				continue
			}
			_ = c.(*net.TCPConn).SetLinger(0)
			return
		}
	}
}

// Whenever a server resets idle connections: a POST is answered once, or known not
// to have been sent and sent again, or its caller is told that nobody knows. It is
// never sent twice, and never said to be unsent if it was seen.
func TestPostsOnConnectionsThatAreReset(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rude{seen: map[string]int{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { r.serve(c) })
		}
	})
	s := newStage(t, policy.Service{}, l.Addr().String())
	var answered, unknown, unsent atomic.Int64
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			for i := range 100 {
				id := fmt.Sprintf("%d/%d", caller, i)
				res, err := s.ask(t, http.MethodPost, "/", strings.NewReader(id))
				var text []byte
				if err == nil {
					text, _ = io.ReadAll(res.Body)
					_ = res.Body.Close()
				}
				r.mu.Lock()
				n := r.seen[id]
				r.mu.Unlock()
				switch {
				case n > 1:
					t.Errorf("%s was seen %d times", id, n)
				case err == nil:
					answered.Add(1)
					if n != 1 || string(text) != id {
						t.Errorf("%s: answered with %q, seen %d times", id, text, n)
					}
				case failure(t, err).Sent == call.NotSent:
					unsent.Add(1)
					if n != 0 {
						t.Errorf("%s was seen, though unsent: %v", id, err)
					}
				default:
					unknown.Add(1)
				}
			}
		})
	}
	callers.Wait()
	s.client.Close()
	_ = l.Close()
	all.Wait()
	t.Logf("%d answered, %d nobody knows of, %d unsent; %d connections", answered.Load(), unknown.Load(), unsent.Load(), s.made.Load())
	if answered.Load() < 600 {
		t.Errorf("%d of 800 answered", answered.Load())
	}
}

// A request whose connection turns out to be dead before anything was written goes
// out on another, and is one attempt.
func TestDeadConnectionIsNoAttempt(t *testing.T) {
	s := newStage(t, policy.Service{Retry: policy.Retry{Attempts: 1}}, serve(t, 0, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	var dead sync.Map
	dial := s.dial
	s.dial = func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := dial(ctx, addr)
		return &mortal{Conn: c, dead: &dead}, err
	}
	for i := range 20 {
		res, err := s.ask(t, http.MethodPost, "/", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if string(text) != "hello" {
			t.Errorf("got %q", text)
		}
		if n := s.attempts(t); n != uint64(i)+1 {
			t.Errorf("%d attempts for %d requests", n, i+1)
		}
	}
	if n := s.made.Load(); n != 20 {
		t.Errorf("%d connections", n)
	}
}

// mortal is a connection on which a second request can not be written, though
// nothing was heard of its end.
type mortal struct {
	net.Conn
	dead   *sync.Map
	writes atomic.Int64
}

func (m *mortal) Write(p []byte) (int, error) {
	if m.writes.Add(1) > 1 {
		return 0, io.ErrClosedPipe
	}
	return m.Conn.Write(p)
}
