package consul

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// However much is watched, the agent's other users find connections left, every
// first answer comes at once, and every change within some turns.
func TestManyWatchesTakeTurns(t *testing.T) {
	const many = 300
	began, most := time.Now(), 0
	var changed atomic.Bool
	var fk *fake
	answer := func(_ int, r request) reply {
		fk.mu.Lock()
		most = max(most, fk.open)
		fk.mu.Unlock()
		if changed.Load() {
			return unchanged(r, 9, `["new"]`)
		}
		return unchanged(r, 7, `["old"]`)
	}
	bubble(t, answer, func(t *testing.T, f *fake, c *Client) {
		fk, began = f, time.Now()
		var told []func() []Result
		for i := range many {
			told = append(told, record(t, c, Query{Path: fmt.Sprintf("/v1/health/service/s%d", i), Read: Cached}))
		}
		for i, results := range told {
			if got := bodies(results()); got != `["old"]` || time.Since(began) > 0 {
				t.Fatalf("watch %d at first, after %v: %q", i, time.Since(began), got)
			}
		}
		pass(time.Minute)
		asked := len(f.seen())
		pass(time.Minute)
		if n := len(f.seen()) - asked; n > many*60 || n < many*10 {
			t.Errorf("%d queries in a minute", n)
		}
		changed.Store(true)
		pass(10 * time.Second)
		for i, results := range told {
			if got := bodies(results()); got != `["old"] ["new"]` {
				t.Errorf("watch %d, 10 s after the change: %q", i, got)
			}
		}
		if most > blocking+prompt {
			t.Errorf("%d queries at once, of which an agent takes %d from one address", most, maxConns)
		}
	})
}

// When there is room again, queries block as long as they may.
func TestTurnsEndWithTheCrowd(t *testing.T) {
	quiet := func(_ int, r request) reply { return unchanged(r, 7, `["a"]`) }
	bubble(t, quiet, func(t *testing.T, f *fake, c *Client) {
		var log journal
		c.log = slog.New(slog.NewTextHandler(&log, nil))
		record(t, c, web)
		ctx, cancel := context.WithCancel(t.Context())
		var crowd sync.WaitGroup
		for i := range blocking {
			crowd.Go(func() {
				_ = c.Watch(ctx, Query{Path: fmt.Sprintf("/v1/health/service/s%d", i), Read: Cached}, func(Result) {})
			})
		}
		pass(time.Minute)
		cancel()
		crowd.Wait()
		pass(10 * time.Second)
		asked := len(f.seen())
		pass(time.Hour)
		if n := len(f.seen()) - asked; n > 13 {
			t.Errorf("%d queries in a quiet hour, want 13 at most", n)
		}
		if n := strings.Count(log.String(), "take turns"); n != 1 {
			t.Errorf("said %d times that watches take turns:\n%s", n, log.String())
		}
	})
}
