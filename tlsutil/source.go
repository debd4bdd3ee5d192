package tlsutil

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Source hands out the current identity, which may be replaced at any time.
//
// Identity is called within handshakes, from many goroutines: it must not
// block. It returns an identity whose leaf is valid now, or an error: one that
// wraps [ErrNoIdentity] if there has never been one, [ErrExpired] if it could
// not be renewed in time. It never returns an expired leaf without an error.
//
// Changed returns a channel that is closed when Identity has something new to
// tell. Take the channel first, then ask Identity, and no change is missed.
type Source interface {
	Identity() (*Identity, error)
	Changed() <-chan struct{}
}

// Ready waits until the source has an identity and returns it. When ctx ends
// first, the error wraps both the context's cause and what the source said last.
// Without a source it fails at once with [ErrNoIdentity].
func Ready(ctx context.Context, src Source) (*Identity, error) {
	if src == nil {
		return nil, fmt.Errorf("wait for an identity: %w", ErrNoIdentity)
	}
	for {
		changed := src.Changed()
		id, err := current(src)
		if err == nil {
			return id, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for an identity: %w: %w", context.Cause(ctx), err)
		}
	}
}

// current asks the source and trusts no implementation with the time.
func current(src Source) (*Identity, error) {
	if src == nil {
		return nil, ErrNoIdentity
	}
	id, err := src.Identity()
	if err != nil {
		return nil, err
	}
	if id == nil {
		return nil, ErrNoIdentity
	}
	if err := id.Valid(time.Now()); err != nil {
		return nil, err
	}
	return id, nil
}

// cell is an identity that is replaced now and then, and tells when.
type cell struct {
	identity atomic.Pointer[Identity]
	mu       sync.Mutex
	changed  chan struct{} // made when first asked for; guarded by mu
}

// Changed is the one of [Source].
func (c *cell) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

// store replaces the identity, then tells: whoever hears of it finds it.
func (c *cell) store(id *Identity) {
	c.identity.Store(id)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}
