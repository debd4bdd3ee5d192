package listener

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// places bound how many handshakes are under way. An honest one takes
// milliseconds, so those that have waited longest are most likely slow on
// purpose: when all places are taken, the oldest gives way, though not before it
// had a fair time. Were it not for that time, a crowd of honest peers would keep
// throwing out those that are nearly done.
type places struct {
	limit int
	fair  time.Duration

	mu    sync.Mutex
	taken int
	line  list.List     // of *place that may be thrown out, the oldest first
	freed chan struct{} // closed when a place is free; nil while nobody waits
}

// place is the right to make one handshake. Its context ends when it has to give
// way.
type place struct {
	of      *places
	ctx     context.Context //nolint:containedctx // it is that of this handshake, and lives as long
	cancel  context.CancelCauseFunc
	since   time.Time
	element *list.Element // nil when it is not in the line any more
	gone    bool          // its place is somebody else's
}

func newPlaces(limit int, fair time.Duration) *places { return &places{limit: limit, fair: fair} }

// enter waits for a place.
func (s *places) enter(ctx context.Context) (*place, error) {
	for {
		p, freed, due := s.try(ctx)
		if p != nil {
			return p, nil
		}
		timer := time.NewTimer(due)
		select {
		case <-freed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// try takes a place, or says what to wait for.
func (s *places) try(ctx context.Context) (p *place, freed <-chan struct{}, due time.Duration) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.limit {
		due = s.fair
		if e := s.line.Front(); e != nil {
			oldest := e.Value.(*place)
			if due = s.fair - now.Sub(oldest.since); due <= 0 {
				s.evict(oldest)
			}
		}
	}
	if s.taken >= s.limit {
		if s.freed == nil {
			s.freed = make(chan struct{})
		}
		return nil, s.freed, due
	}
	s.taken++
	p = &place{of: s, since: now}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	p.element = s.line.PushBack(p)
	return p, nil, 0
}

// evict frees the place of somebody who is still there.
func (s *places) evict(p *place) {
	s.line.Remove(p.element)
	p.element, p.gone = nil, true
	s.taken--
	p.cancel(errCrowded)
}

// settled says that the handshake is over: it can not be thrown out any more.
func (p *place) settled() {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if p.element != nil {
		p.of.line.Remove(p.element)
		p.element = nil
	}
}

// leave gives the place back.
func (p *place) leave() {
	p.settled()
	p.cancel(nil)
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if p.gone {
		return
	}
	p.of.taken--
	if p.of.freed != nil {
		close(p.of.freed)
		p.of.freed = nil
	}
}
