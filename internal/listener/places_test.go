package listener

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func enter(t *testing.T, s *places) *place {
	t.Helper()
	p, err := s.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlacesAreGivenBack(t *testing.T) {
	s := newPlaces(2, time.Hour)
	for range 10 {
		a, b := enter(t, s), enter(t, s)
		a.leave()
		b.leave()
	}
	if s.taken != 0 || s.line.Len() != 0 {
		t.Errorf("%d taken, %d in line", s.taken, s.line.Len())
	}
}

// A crowd waits; nobody is thrown out before he had a fair time.
func TestPlacesOldestGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlaces(2, time.Second)
		first := enter(t, s)
		time.Sleep(400 * time.Millisecond)
		second := enter(t, s)
		begin := time.Now()
		third := enter(t, s)
		if waited := time.Since(begin); waited != 600*time.Millisecond {
			t.Errorf("the third waited %s, want the rest of the first one's second", waited)
		}
		if cause := context.Cause(first.ctx); !errors.Is(cause, errCrowded) {
			t.Errorf("the first was told %v", cause)
		}
		if second.ctx.Err() != nil {
			t.Error("the second had to go as well")
		}
		first.leave() // late: its place is gone already
		if s.taken != 2 {
			t.Errorf("%d taken, want 2", s.taken)
		}
		second.leave()
		begin = time.Now()
		enter(t, s).leave()
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("waited %s for a free place", waited)
		}
		third.leave()
	})
}

// Who is done keeps its place until the connection is handed over.
func TestPlacesSettledStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlaces(1, time.Second)
		done := enter(t, s)
		done.settled()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := s.enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the wait", err)
		}
		if done.ctx.Err() != nil {
			t.Error("thrown out although it is done")
		}
		go func() { time.Sleep(time.Second); done.leave() }()
		begin := time.Now()
		enter(t, s).leave()
		if waited := time.Since(begin); waited != time.Second {
			t.Errorf("waited %s, want until the place was free", waited)
		}
	})
}
