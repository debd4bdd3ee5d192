package consul

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"time"
)

// standing is what keeps an instance out of rotation although it is well.
type standing struct {
	mu      sync.Mutex
	leaving bool
	own     string // the reason of a maintenance that we have begun, until somebody ends it
	told    string // what Maintained has heard
}

func (s *standing) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = true
}

func (s *standing) isLeaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving
}

func (s *standing) setOwn(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own = reason
}

func (s *standing) ownReason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own
}

// hear tells the program, if that is news, that it is in maintenance or not.
func (s *standing) hear(reason string, tell func(string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if tell != nil && reason != s.told {
		s.told = reason
		tell(reason)
	}
}

// live gives a sign of life, unless the agent looks for itself. The caller has
// the turn, or is the only one yet.
func (k *keeper) live(ctx context.Context) error {
	if k.ttl == 0 {
		return nil
	}
	health, output := k.health()
	body := struct {
		Status string `json:"Status"`
		Output string `json:"Output,omitempty"`
	}{health.String(), output}
	if err := k.client.Put(ctx, "/v1/agent/check/update/"+url.PathEscape(k.body.Checks[0].CheckID), nil, body); err != nil {
		return fmt.Errorf("say that %q lives: %w", k.body.ID, err)
	}
	k.lived = time.Now()
	return nil
}

// follow tells the agent at once when the instance is better or worse, until ctx
// ends. What fails, keep does again; it is also the one that says so.
func (k *keeper) follow(ctx context.Context) {
	k.whenChanged(ctx, func() {
		if k.live(ctx) != nil {
			k.lived = time.Time{}
		}
	})
}
