package httpadapter_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/innermesh/innermesh/policy"
)

// Who asked for a connection first may go while there may be none: the others wait on.
func TestWhoGoesLeavesOthersWaiting(t *testing.T) {
	g := newGate()
	p := over(policy.HTTP2, policy.Connections{})
	p.Limits.Connections = 1
	p.Retry.Attempts = 1
	s := newStage(t, p, serve(t, 10, g.ServeHTTP))
	var all sync.WaitGroup
	ask := func(ctx context.Context, asked *atomic.Int64) error {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: func(string) { asked.Add(1) }})
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://web/", nil)
		if err != nil {
			return err
		}
		res, err := s.client.RoundTrip(r)
		if err == nil {
			err = res.Body.Close()
		}
		return err
	}
	var holders, goers, waiters atomic.Int64
	all.Go(func() {
		if err := ask(t.Context(), &holders); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the only place is taken", func() bool { return g.waiting.Load() == 1 })
	s.are(t, serve(t, 10, hello))
	eventually(t, "the other is there", func() bool {
		m := s.directory.All()[0].Members()
		return len(m) == 1 && m[0].Load().Inflight() == 0
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gone := make(chan error)
	go func() { gone <- ask(ctx, &goers) }()
	quota := s.directory.All()[0].Clusters()[0].Quota()
	eventually(t, "somebody wants a place", quota.Wanted)
	for range 5 {
		all.Go(func() {
			if err := ask(t.Context(), &waiters); err != nil {
				t.Errorf("who waits was sent away: %v", err)
			}
		})
	}
	eventually(t, "others want one", func() bool { return waiters.Load() == 5 })
	cancel()
	if err := <-gone; err == nil {
		t.Error("who has gone was answered")
	}
	close(g.open)
	all.Wait()
}

// A connection that carries more requests than the other side wants by now is there
// once, and takes others when it carries fewer.
func TestFewerStreamsThanBefore(t *testing.T) {
	const before, after = 20, 5
	addr := newH2(t, func(c *h2conn, _ int) {
		_ = c.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: before})
		for n := 1; ; n++ {
			id := c.next()
			if id == 0 {
				return
			}
			if n == before-1 {
				_ = c.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: after})
			}
			c.answer(id, "hello")
		}
	})
	s := newStage(t, over(policy.HTTP2, policy.Connections{}), addr)
	var bodies []io.Closer
	for range before {
		res, err := s.ask(t, http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, res.Body) // all of it is there, and nobody reads it
	}
	for _, b := range bodies {
		_ = b.Close()
	}
	if n := s.directory.All()[0].Clusters()[0].Quota().Idle(); n != 1 || s.made.Load() != 1 {
		t.Errorf("%d connections that carry nothing, of %d", n, s.made.Load())
	}
	if _, err := s.get(t, "/"); err != nil || s.made.Load() != 1 {
		t.Errorf("%v, over %d connections", err, s.made.Load())
	}
}
