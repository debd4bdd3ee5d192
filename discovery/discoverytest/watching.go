package discoverytest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/innermesh/innermesh/discovery"
)

// watching is one running watch and everything it was told.
type watching struct {
	t       *testing.T
	h       Harness
	src     discovery.Source
	updates chan discovery.Update
	cancel  context.CancelFunc
	ended   chan error
}

// watch starts a watch that ends with the test at the latest.
func (h Harness) watch(t *testing.T, src discovery.Source, service string) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watching{
		t: t, h: h, src: src, cancel: cancel,
		updates: make(chan discovery.Update, 1000), ended: make(chan error, 1),
	}
	inTell := make(chan struct{}, 1)
	go func() {
		w.ended <- src.Watch(ctx, service, func(u discovery.Update) {
			select {
			case inTell <- struct{}{}:
			default:
				t.Error("tell was called by two goroutines at a time")
				return
			}
			w.updates <- u
			<-inTell
		})
	}()
	t.Cleanup(func() {
		if w.cancel != nil {
			w.stop()
		}
	})
	return w
}

// next returns the next snapshot. Errors do not end a watch, so they are passed
// over, but noted.
func (w *watching) next() discovery.Snapshot {
	w.t.Helper()
	timer := time.NewTimer(w.h.Patience)
	defer timer.Stop()
	for {
		select {
		case u := <-w.updates:
			if u.Err == nil {
				return u.Snapshot
			}
			w.t.Logf("the source told an error: %v", u.Err)
		case err := <-w.ended:
			w.ended <- err
			w.t.Fatalf("the watch ended by itself: %v", err)
		case <-timer.C:
			w.t.Fatalf("nothing was told for %v", w.h.Patience)
		}
	}
}

// want waits for a snapshot of exactly these instances; states on the way there
// may be seen or missed.
func (w *watching) want(instances ...discovery.Instance) discovery.Snapshot {
	w.t.Helper()
	deadline := time.Now().Add(w.h.Patience)
	for {
		s := w.next()
		if w.h.same(s, instances) {
			return s
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("got %+v, want %+v", s.Instances, instances)
		}
	}
}

// kept checks that an instance that stayed is still the same one.
func (w *watching) kept(before, after discovery.Snapshot) {
	w.t.Helper()
	ids := map[string]string{}
	for _, inst := range before.Instances {
		ids[inst.Address] = inst.ID
	}
	for _, inst := range after.Instances {
		if id, stayed := ids[inst.Address]; stayed && id != inst.ID {
			w.t.Errorf("%s was %q and is now %q: IDs must stay", inst.Address, id, inst.ID)
		}
	}
}

// stop ends the watch and checks how it ended.
func (w *watching) stop() {
	w.t.Helper()
	w.cancel()
	w.cancel = nil
	timer := time.NewTimer(w.h.Patience)
	defer timer.Stop()
	select {
	case err := <-w.ended:
		if !errors.Is(err, context.Canceled) {
			w.t.Errorf("Watch returned %v, want its context's error", err)
		}
	case <-timer.C:
		w.t.Errorf("Watch did not return within %v of its context's end", w.h.Patience)
	}
}
