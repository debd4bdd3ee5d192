package tlsutil

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// DevSource is a [Source] of one service's identity from a [DevCA]. It renews
// when it is asked after about two thirds of the lifetime, with jitter so that
// services started together do not renew together. It has no goroutine: when
// nobody asks, nothing changes, and Changed is silent.
//
// Safe for concurrent use.
type DevSource struct {
	cell
	ca *DevCA
	id ID

	renewing sync.Mutex
	renewAt  atomic.Int64 // Unix nanoseconds: certificates live by the wall clock
}

// Identity returns the identity, renewed if it is time. It fails only when the
// CA itself has expired, after ten years.
func (s *DevSource) Identity() (*Identity, error) {
	id, now := s.identity.Load(), time.Now()
	valid := id.Valid(now) == nil
	if valid && now.UnixNano() < s.renewAt.Load() {
		return id, nil
	}
	if !s.renewing.TryLock() {
		if valid {
			return id, nil // someone else is at it, and there is time
		}
		s.renewing.Lock()
	}
	defer s.renewing.Unlock()
	if s.identity.Load() == id {
		if err := s.rotate(now); err != nil && !valid {
			return nil, err
		}
	}
	return s.identity.Load(), nil
}

// Rotate makes a new key and certificate now.
func (s *DevSource) Rotate() error {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	return s.rotate(time.Now())
}

func (s *DevSource) rotate(now time.Time) error {
	cert, err := s.ca.issue(s.ca.leaf(s.id, now))
	if err != nil {
		return fmt.Errorf("development CA: renew %s: %w", s.id, err)
	}
	id, err := NewIdentity(cert, s.ca.roots)
	if err != nil {
		return fmt.Errorf("development CA: renew %s: %w", s.id, err)
	}
	if err := id.Valid(now); err != nil {
		return fmt.Errorf("development CA: the CA's own time is over: %w", err)
	}
	s.renewAt.Store(now.Add(renewAfter(id.NotAfter().Sub(now))).UnixNano())
	s.store(id)
	return nil
}
