package consul

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"golang.org/x/time/rate"
)

// watch is one blocking query and what it has learned.
type watch struct {
	client *Client
	query  Query

	key         string // these three belong to the client, under its lock
	stop        func()
	subscribers int

	mu    sync.Mutex
	state state
}

// state is what a watch knows at one moment. The counters tell what is new to a
// reader who saw an earlier one.
type state struct {
	good    Result
	answers int // how often good was set
	resets  int // how often it was no later state of the one before
	err     error
	errors  int           // how often err was set
	changed chan struct{} // closed by the next change
}

func newWatch(c *Client, q Query) *watch {
	return &watch{client: c, query: q, state: state{changed: make(chan struct{})}}
}

func (w *watch) now() state {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

const (
	// margin is added to the longest time that the server may take by its own
	// rules: its wait, and a sixteenth of it as jitter.
	margin = 15 * time.Second
	// promptly is the time for an answer that need not wait for anything; without
	// a leader Consul takes up to 11 s to say so.
	promptly = 30 * time.Second
	// fromCache is the time for an answer that the agent has by itself.
	fromCache = 10 * time.Second
	// forbidden is how long, at least, a watch without permission waits: rights
	// reach the agents within 30 s.
	forbidden = 30 * time.Second
	// burst and pace limit a loop whose server answers at once, for whatever reason.
	// A change that comes amid many others is known within the pace.
	burst = 10
	pace  = time.Second / 2
)

// loop asks until ctx ends. The rules are those of Consul's documentation of
// blocking queries, and lessons from clients that ignored them; each has its
// test.
func (w *watch) loop(ctx context.Context) {
	limit := rate.NewLimiter(rate.Every(pace), burst)
	trouble := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(time.Second/2), // full jitter: from nothing to twice the interval,
		backoff.WithRandomizationFactor(1),         // so from 1 s to 30 s
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(15*time.Second),
		backoff.WithMaxElapsedTime(0))
	var index, last uint64 // to ask with, and of the last good answer
	for limit.Wait(ctx) == nil {
		a, err := w.ask(ctx, index)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errTurn) {
			continue
		}
		if err != nil {
			w.fail(err)
			// Whoever answers next may be another server, or one that has lost its
			// memory; asked with an index from the future it would be silent for a
			// whole wait. What is unchanged is not told, so asking anew costs little.
			index = 0
			pause := trouble.NextBackOff()
			if kind(err) == "permission" {
				pause = forbidden + rand.N(forbidden)
			}
			if !sleep(ctx, pause) {
				return
			}
			continue
		}
		trouble.Reset()
		reset := a.index < last
		last = a.index
		if a.index < index {
			index = 0 // it went backwards: start over
		} else {
			index = a.index
		}
		w.accept(a, reset)
	}
}

// accept takes a good answer; it is news if its content is, if there was an
// error before, or if it is no later state of the one before.
func (w *watch) accept(a answer, reset bool) {
	next := Result{Body: a.body, Found: a.status == http.StatusOK, Index: a.index, Hash: a.hash}
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.state
	if before.answers > 0 && before.err == nil && !reset && before.good.Found == next.Found && bytes.Equal(before.good.Body, next.Body) {
		return
	}
	w.state.good, w.state.err = next, nil
	w.state.answers++
	if reset {
		w.state.resets++
	}
	w.tell()
	w.recovered(kind(before.err))
}

// recovered tells that trouble of a kind is over. The caller holds the lock.
func (w *watch) recovered(from string) {
	if from != "" && !isShared(from) {
		w.client.log.Info("Consul answers a watch again", "path", w.query.Path)
	}
	if last, after := w.client.outage.ends(w); last {
		w.client.log.Info("Consul answers again", "after", after.Round(time.Millisecond))
	}
}

// fail notes an error if it is of another kind than the one before.
func (w *watch) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if kind(err) == kind(w.state.err) {
		return
	}
	w.state.err = err
	w.state.errors++
	w.tell()
	switch k := kind(err); {
	case isShared(k):
		if w.client.outage.fails(w, k) {
			w.client.log.Warn("Consul does not answer; what is known stays", "path", w.query.Path, "error", err)
		}
		return
	case k == "permission":
		w.client.log.Error("Consul refuses a watch: give its token the permission; what is known stays", "path", w.query.Path, "error", err)
	default:
		w.client.log.Warn("Consul does not answer a watch well; what is known stays", "path", w.query.Path, "error", err)
	}
	w.recovered("") // it has answered
}

// tell wakes all subscribers. The caller holds the lock.
func (w *watch) tell() {
	close(w.state.changed)
	w.state.changed = make(chan struct{})
}

// sleep waits, or returns false if ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
