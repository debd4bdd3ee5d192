package consulca

import (
	"context"
	"math/big"
	"time"

	"github.com/innermesh/innermesh/tlsutil"
)

// The agent renews when 60 % to 90 % of a certificate's life are over, so one of
// which only this share is left is late.
const late = 0.1

// again is how often what does not fit is tried again: a certificate that is not
// valid yet, because clocks differ, brings no further news.
const again = 10 * time.Second

// alarm is how far a certificate has come.
type alarm uint8

const (
	fresh alarm = iota
	nearEnd
	expired
)

// watchTime sounds the alarm for each certificate that comes near its end, and
// once more when it has expired, which Changed tells too.
func (s *Source) watchTime(ctx context.Context) {
	var serial *big.Int
	var sounded alarm
	for {
		now, at := s.state.Load(), time.Now()
		wait, timed := again, now.err != nil
		if id := now.id; id != nil {
			if n := id.Certificate().Leaf.SerialNumber; serial == nil || n.Cmp(serial) != 0 {
				serial, sounded = n, fresh
			}
			stage, next := age(id, at)
			if stage > sounded {
				sounded = stage
				s.sound(stage, now)
				continue
			}
			if next > 0 && (!timed || next < wait) {
				wait, timed = next, true
			}
		}
		if !pause(ctx, now.changed, wait, timed) {
			return
		}
		s.mu.Lock()
		s.fit(time.Now())
		s.mu.Unlock()
	}
}

func (s *Source) sound(stage alarm, now *state) {
	if stage == nearEnd {
		s.o.Log.Warn("the certificate is near its end, and Consul's agent has not renewed it",
			"id", now.id.ID().String(), "expires", now.id.NotAfter(), "error", now.err)
		return
	}
	s.o.Log.Error("the certificate has expired: connections fail until Consul's agent renews it",
		"id", now.id.ID().String(), "expired", now.id.NotAfter(), "error", now.err)
	s.mu.Lock()
	defer s.mu.Unlock()
	latest := s.state.Load()
	s.tell(latest.id, latest.err)
}

// age returns the stage of a certificate and when the next one begins, 0 for
// never.
func age(id *tlsutil.Identity, now time.Time) (stage alarm, next time.Duration) {
	leaf := id.Certificate().Leaf
	end := leaf.NotAfter
	near := end.Add(-time.Duration(late * float64(end.Sub(leaf.NotBefore))))
	switch {
	case now.After(end):
		return expired, 0
	case now.Before(near):
		return fresh, near.Sub(now)
	default:
		return nearEnd, end.Sub(now) + 1
	}
}

// pause waits for news, or for a while if it is timed. It returns false when ctx
// has ended.
func pause(ctx context.Context, news <-chan struct{}, wait time.Duration, timed bool) bool {
	var due <-chan time.Time
	if timed {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-news:
		return true
	case <-due:
		return true
	}
}
