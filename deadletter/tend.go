package deadletter

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// All lists the letters that the filter means, page by page. It ends with the
// first error.
func All(ctx context.Context, s Sink, f Filter) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		q := Query{Filter: f}
		for {
			page, err := s.List(ctx, q)
			if err != nil {
				yield(Letter{}, err)
				return
			}
			for _, l := range page.Letters {
				if !yield(l, nil) {
					return
				}
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				return
			}
		}
	}
}

// Get returns one letter, or [ErrNotFound].
func Get(ctx context.Context, s Sink, id string) (Letter, error) {
	page, err := s.List(ctx, Query{Filter: Filter{IDs: []string{id}}, Limit: 1})
	switch {
	case err != nil:
		return Letter{}, err
	case len(page.Letters) == 0:
		return Letter{}, fmt.Errorf("letter %.80q: %w", id, ErrNotFound)
	}
	return page.Letters[0], nil
}

// Depth is how much a sink holds: what alarms are made of.
type Depth struct {
	// Letters counts by state.
	Letters map[State]int
	// Oldest is when the oldest letter was made, by state.
	Oldest map[State]time.Time
}

// Count counts the letters that the filter means. It reads all of them.
func Count(ctx context.Context, s Sink, f Filter) (Depth, error) {
	d := Depth{Letters: map[State]int{}, Oldest: map[State]time.Time{}}
	for l, err := range All(ctx, s, f) {
		if err != nil {
			return d, err
		}
		d.Letters[l.State]++
		if at, ok := d.Oldest[l.State]; !ok || l.Created.Before(at) {
			d.Oldest[l.State] = l.Created
		}
	}
	return d, nil
}

// Discard deletes the letters that the filter means, for good, and says how
// many. Letters that somebody is just sending are left alone.
func Discard(ctx context.Context, s Sink, f Filter) (int, error) {
	return each(ctx, s, f, func(l Letter) error {
		if l.Leased(time.Now()) {
			return ErrStale
		}
		return s.Remove(ctx, l)
	})
}

// Expire deletes the letters whose time is over, and says how many. [Redriver.Run]
// and [Outbox] do so by themselves.
func Expire(ctx context.Context, s Sink, f Filter) (int, error) {
	now := time.Now()
	f.Expired = now
	return each(ctx, s, f, func(l Letter) error {
		if l.Leased(now) {
			return ErrStale
		}
		return s.Remove(ctx, l)
	})
}

// Revive makes dead letters that the filter means, parked ones too, be sent again
// at the next occasion, as if they had never been sent again, and says how many:
// when what was wrong is repaired. Without States it means parked letters.
func Revive(ctx context.Context, s Sink, f Filter) (int, error) {
	if len(f.States) == 0 {
		f.States = []State{Parked}
	}
	return each(ctx, s, f, func(l Letter) error {
		if l.State == Queued || l.Leased(time.Now()) {
			return ErrStale
		}
		l.State, l.Redrives, l.NotBefore = Waiting, 0, time.Time{}
		_, err := s.Update(ctx, l)
		return err
	})
}

// each does something to every letter, and counts. Letters that change
// meanwhile are somebody else's.
func each(ctx context.Context, s Sink, f Filter, do func(Letter) error) (int, error) {
	var n atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for l, err := range All(ctx, s, f) {
		if err != nil {
			return int(n.Load()), errors.Join(err, group.Wait())
		}
		group.Go(func() error {
			switch err := do(l); {
			case err == nil:
				n.Add(1)
			case !errors.Is(err, ErrStale) && !errors.Is(err, ErrNotFound):
				return err
			}
			return nil
		})
	}
	err := group.Wait()
	return int(n.Load()), err
}

// together is how many changes are made at a time: they share a write to the disk.
const together = 64
