package nats

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/innermesh/innermesh/deadletter"
)

// marker is what a bucket keeps in the place of what was removed, so that all
// hear of it.
type marker struct {
	key      string
	revision uint64
	at       time.Time
}

// markersStay is how long markers are left to those who were cut off: who comes
// back later finds out when it reads.
const markersStay = time.Hour

// watch reads the bucket, and goes on to follow it.
func (s *Sink) watch(ctx context.Context) error {
	life, stop := context.WithCancel(context.Background()) // ctx bounds the reading alone
	w, err := s.kv.WatchAll(life)
	if err != nil {
		stop()
		return err
	}
	for reading := true; reading; {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				stop()
				return errors.New("the connection was closed")
			case e == nil:
				reading = false
			default:
				s.heard(life, e)
			}
		case <-ctx.Done():
			_ = w.Stop() // see Close
			stop()
			return ctx.Err()
		}
	}
	s.stop, s.watcher = stop, w
	s.done.Go(func() {
		for e := range w.Updates() {
			if e != nil {
				s.heard(life, e)
			}
		}
	})
	s.done.Go(func() { s.tend(life) })
	return nil
}

// heard takes in what somebody has done, perhaps we ourselves and some time ago.
func (s *Sink) heard(ctx context.Context, e jetstream.KeyValueEntry) {
	if e.Operation() != jetstream.KeyValuePut {
		s.mu.Lock()
		defer s.mu.Unlock()
		if have, ok := s.index.Find(e.Key()); ok && have.Revision < e.Revision() {
			s.index.Delete(e.Key())
		}
		s.gone[e.Key()] = max(s.gone[e.Key()], e.Revision()) // who has just read it may be about to tell us
		s.markers = append(s.markers, marker{e.Key(), e.Revision(), e.Created()})
		return
	}
	l, err := deadletter.Decode(e.Value())
	if err != nil || l.ID != e.Key() {
		s.o.Logger.ErrorContext(ctx, "an entry in the bucket of dead letters is none, it is left there",
			"bucket", s.o.Bucket, "key", e.Key(), "error", err)
		return
	}
	l.Revision = e.Revision()
	s.know(l)
}

// know takes in a letter unless something newer is known of it.
func (s *Sink) know(l deadletter.Letter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone[l.ID] >= l.Revision {
		return
	}
	if have, ok := s.index.Find(l.ID); !ok || have.Revision < l.Revision {
		s.index.Set(l)
	}
}

// forget takes in that we have removed a letter, before the watch says so.
func (s *Sink) forget(id string, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.index.Find(id); ok && have.Revision <= revision {
		s.index.Delete(id)
	}
	s.gone[id] = max(s.gone[id], revision)
}

// tend compares what is known with what the bucket has, and takes old markers out
// of it so that it does not grow for ever. Every process does; who comes second
// finds nothing.
func (s *Sink) tend(ctx context.Context) {
	ticker := time.NewTicker(s.o.Resync)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		s.compare(ctx)
		for _, m := range s.oldMarkers(time.Now().Add(-markersStay)) {
			_ = s.stream.DeleteMsg(ctx, m.revision) // it is gone, or is tried again by who opens the bucket next
		}
	}
}

// compare reads again what differs from what is known. A server may skip an entry
// of a watch when another one follows at once (seen with 2.9).
func (s *Sink) compare(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s.mu.Lock()
	suspects := map[string]uint64{}
	for _, id := range s.index.IDs() {
		l, _ := s.index.Find(id)
		suspects[id] = l.Revision
	}
	s.mu.Unlock()
	w, err := s.kv.WatchAll(ctx, jetstream.MetaOnly())
	if err != nil {
		return // a server that is away is heard of by who calls it
	}
	defer func() { _ = w.Stop() }() // see Close
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return
			case e == nil:
				s.readAgain(ctx, suspects)
				return
			case e.Operation() != jetstream.KeyValuePut: // stays suspect if we take it to be there
			case suspects[e.Key()] == e.Revision():
				delete(suspects, e.Key())
			default:
				suspects[e.Key()] = e.Revision()
			}
		case <-ctx.Done():
			return
		}
	}
}

func (s *Sink) readAgain(ctx context.Context, suspects map[string]uint64) {
	for id := range suspects {
		_, _ = s.get(ctx, id) // which takes in what it finds
	}
}

// oldMarkers hands out, once, the markers from before.
func (s *Sink) oldMarkers(before time.Time) []marker {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.markers) && s.markers[n].at.Before(before) {
		n++
	}
	old := s.markers[:n:n]
	s.markers = s.markers[n:]
	for _, m := range old {
		if s.gone[m.key] <= m.revision {
			delete(s.gone, m.key)
		}
	}
	return old
}
