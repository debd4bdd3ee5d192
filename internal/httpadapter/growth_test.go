package httpadapter_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/policy"
)

// many makes n requests at once, and returns when all have been answered.
func (s *stage) many(t *testing.T, n int) (failed []error) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if _, err := s.get(t, "/"); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	all.Wait()
	return failed
}

// Under pressure there are as many connections as the requests need that are under
// way at once, by how many the other side takes on each, and no stream too many.
func TestGrowthUnderStreamPressure(t *testing.T) {
	for streams, want := range map[int]int64{1: 40, 10: 4, 100: 1} {
		g := newGate()
		s := newStage(t, over(policy.HTTP2, policy.Connections{}), serve(t, streams, g.ServeHTTP))
		done := make(chan []error)
		go func() { done <- s.many(t, 40) }()
		eventually(t, "all are there at once", func() bool { return g.waiting.Load() == 40 })
		if n := s.open.Load(); n != want {
			t.Errorf("%d streams each: %d connections for 40 requests, want %d", streams, n, want)
		}
		close(g.open)
		if failed := <-done; len(failed) > 0 {
			t.Errorf("%d streams each: %d failed: %v", streams, len(failed), failed[0])
		}
	}
}

// One request after the other needs one connection, though the place of the last
// one is given back a moment after its answer.
func TestNoGrowthWithoutPressure(t *testing.T) {
	for _, protocol := range []string{policy.HTTP1, policy.HTTP2} {
		s := newStage(t, over(protocol, policy.Connections{}), serve(t, 1, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "hello")
		}))
		for range 300 {
			if _, err := s.get(t, "/"); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.made.Load(); n != 1 {
			t.Errorf("%s: %d connections for one request after the other", protocol, n)
		}
	}
}

// There are never more connections than are allowed, and everybody is served.
func TestGrowthIsBounded(t *testing.T) {
	const callers = 30
	tests := map[string]struct {
		p    policy.Service
		most int64
	}{
		"to an instance, HTTP/1.1": {over(policy.HTTP1, policy.Connections{MaxPerInstance: 3}), 3},
		"to an instance, HTTP/2":   {over(policy.HTTP2, policy.Connections{MaxPerInstance: 3}), 3},
		"to all, HTTP/1.1":         {policy.Service{Limits: policy.Limits{Connections: 4}}, 4},
		"to all, HTTP/2":           {policy.Service{HTTP: policy.HTTP{Protocol: policy.HTTP2}, Limits: policy.Limits{Connections: 4}}, 4},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var now, most atomic.Int64
			h := func(w http.ResponseWriter, _ *http.Request) {
				n := now.Add(1)
				defer now.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				_, _ = io.WriteString(w, strings.Repeat("x", 1000))
			}
			addrs := []string{serve(t, 2, h)}
			perInstance := tt.p.Limits.Connections == 0
			if !perInstance {
				addrs = append(addrs, serve(t, 2, h), serve(t, 2, h))
			}
			s := newStage(t, tt.p, addrs...)
			for range 10 {
				if failed := s.many(t, callers); len(failed) > 0 {
					t.Fatalf("%d failed: %v", len(failed), failed[0])
				}
			}
			if n := s.most.Load(); n > tt.most {
				t.Errorf("%d connections at once, %d are allowed", n, tt.most)
			}
			if n := most.Load(); n > 2*tt.most {
				t.Errorf("%d requests at once", n)
			}
		})
	}
}

// Who would have to wait where no more may is refused at once, unsent.
func TestGrowthPendingIsBounded(t *testing.T) {
	g := newGate()
	p := over(policy.HTTP2, policy.Connections{MaxPerInstance: 1})
	p.Limits.Pending = 2
	p.Retry.Attempts = 1
	s := newStage(t, p, serve(t, 1, g.ServeHTTP))
	var refused, answered atomic.Int64
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			_, err := s.get(t, "/")
			if err == nil {
				answered.Add(1)
				return
			}
			if e := failure(t, err); !errors.Is(err, limit.ErrFull) || e.Sent != call.NotSent {
				t.Errorf("got %v (%v), want it refused", err, e.Sent)
			}
			if refused.Add(1) == 7 {
				close(g.open)
			}
		})
	}
	all.Wait()
	if refused.Load() != 7 || answered.Load() != 3 {
		t.Errorf("%d refused and %d answered, want 7 and 3", refused.Load(), answered.Load())
	}
}

// Who gives up while waiting holds nothing.
func TestGrowthWaiterGivesUp(t *testing.T) {
	g := newGate()
	p := over(policy.HTTP1, policy.Connections{MaxPerInstance: 1})
	p.Timeout = policy.Timeout{Total: policy.Duration(50 * time.Millisecond), PerTry: policy.Off}
	s := newStage(t, p, serve(t, 0, g.ServeHTTP))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, err := http.NewRequestWithContext(call.With(ctx, call.Options{Timeout: patience}), http.MethodGet, "http://web/", nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		res, err := s.client.RoundTrip(first)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
		done <- err
	}()
	eventually(t, "the first is there", func() bool { return g.waiting.Load() == 1 })
	_, err = s.ask(t, http.MethodPost, "/", strings.NewReader("x"))
	if e := failure(t, err); e.Sent != call.NotSent || e.Reason != call.Expired || !errors.Is(err, limit.ErrFull) {
		t.Errorf("got %v, %v: want that the time ran out in front of our own limit", err, e.Sent)
	}
	for _, u := range s.directory.All() {
		if took := u.Members()[0].Load().Latency(mono.Now()); took != 0 {
			t.Errorf("the instance is taken to answer in %v, and has not answered yet", took)
		}
	}
	close(g.open)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := s.get(t, "/"); err != nil {
		t.Errorf("the connection was lost: %v", err)
	}
	if n := s.made.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// Under steady load, 64 ways, HTTP/1.1 makes less than one connection for 1,000
// requests.
func TestSteadyLoadMakesNoChurn(t *testing.T) {
	const callers, each = 64, 40
	s := newStage(t, over(policy.HTTP1, policy.Connections{}), serve(t, 0, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	run := func() {
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for range each {
					if _, err := s.get(t, "/"); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	}
	run() // until there are as many as are needed
	before := s.made.Load()
	run()
	if n := s.made.Load() - before; n*1000 >= callers*each {
		t.Errorf("%d connections for %d requests", n, callers*each)
	}
	if n := s.most.Load(); n > callers {
		t.Errorf("%d connections for %d callers", n, callers)
	}
}
