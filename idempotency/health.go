package idempotency

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// health knows how the store is, tells changes, and spares requests the wait for
// a store that does not answer: after some failures in a row only one question a
// second is let through.
type health struct {
	log  *slog.Logger
	open bool

	bad      atomic.Bool // anything below is not zero
	mu       sync.Mutex
	failures int
	next     time.Time // when the next question may be asked
	down     news
	full     news
	corrupt  news
}

const (
	// restAfter is how many failures in a row make questions rare: one alone may
	// be a broken connection.
	restAfter = 3
	restFor   = time.Second
	// tellEvery is how often the same trouble is told at most.
	tellEvery = time.Minute
)

var errResting = fmt.Errorf("its last answers were errors, and it is asked only every %v until it works", restFor)

// admit says whether the store may be asked.
func (h *health) admit() error {
	if !h.bad.Load() {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures < restAfter {
		return nil
	}
	now := time.Now()
	if now.Before(h.next) {
		return errResting
	}
	h.next = now.Add(restFor)
	return nil
}

// heard learns from an answer.
func (h *health) heard(err error) {
	if err == nil && !h.bad.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	switch {
	case errors.Is(err, ErrFull):
		h.trouble(&h.full, now, err)
	case errors.Is(err, ErrCorrupt):
		h.trouble(&h.corrupt, now, err)
	case err != nil && !errors.Is(err, ErrLost):
		if h.failures++; h.failures >= restAfter {
			h.next = now.Add(restFor)
		}
		h.trouble(&h.down, now, err)
		return // the rest is an answer
	}
	h.failures = 0
	h.relief(&h.down, "down")
	if err == nil {
		h.relief(&h.full, "full")
	}
	// A record that can be read says nothing about those that can not.
	h.bad.Store(h.full.now || h.down.now)
}

// news is one kind of trouble.
type news struct {
	now, told bool
	at        time.Time
}

func (h *health) trouble(n *news, now time.Time, err error) {
	h.bad.Store(true)
	fresh := !n.now && (n.at.IsZero() || now.Sub(n.at) >= tellEvery)
	n.now = true
	if !fresh {
		return
	}
	n.told, n.at = true, now
	requests := "refused"
	if h.open {
		requests = "carried out unguarded"
	}
	h.log.LogAttrs(context.Background(), slog.LevelWarn, "idempotency store fails", slog.Any("error", err), slog.String("requests", requests))
}

func (h *health) relief(n *news, was string) {
	if n.told {
		h.log.LogAttrs(context.Background(), slog.LevelInfo, "idempotency store works again", slog.String("was", was))
	}
	n.now, n.told = false, false
}
