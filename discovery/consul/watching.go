package consul

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
)

// watching is what one watch remembers.
type watching struct {
	source              *Source
	service, datacenter string
	tell                func(discovery.Update)
	local               string // our own datacenter; empty if all instances are in it

	mu       sync.Mutex // the end of a hold may come while an answer does
	ended    bool
	answer   []discovery.Instance      // as Consul told it last
	machines map[string]string         // of the last answer that had any
	trouble  bool                      // Consul could not be asked since
	wary     time.Time                 // until when an agent that was away is not believed that all are critical
	before   func() discovery.Snapshot // what the receiver goes by until the first answer, may be nil
	hold     hold
	timer    *time.Timer // ends the hold
	told     bool        // last is what the receiver knows, and no error came after it
	last     discovery.Snapshot
	known    bool            // there was an instance once
	skipped  map[string]bool // instances already complained of
}

// locate learns where we are, if a datacenter was named that may be another: its
// instances are dialled by other addresses.
func (w *watching) locate(ctx context.Context) error {
	if !w.source.client.NamesDatacenter(w.datacenter) {
		return nil
	}
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		dc, err := w.source.client.Datacenter(ctx)
		if err == nil {
			w.local = dc
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, consul.ErrClosed) {
			return err
		}
		if pause == time.Second { // tell the first failure only
			w.troubled(err)
		}
		if err := wait(ctx, rand.N(pause)); err != nil {
			return err
		}
	}
}

// update takes in an answer, or why there is none.
func (w *watching) update(r consul.Result) {
	d, err := decode(r.Body, w.local)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err = errors.Join(r.Err, err); err != nil {
		w.troubled(err)
		return
	}
	w.before = nil
	if w.trouble {
		w.wary = time.Now().Add(w.source.o.Hold)
	}
	for _, id := range d.unusable {
		if !w.skipped[id] {
			w.skipped[id] = true
			w.source.log.Warn("instance left out: it has no address and port to dial", "service", w.service, "instance", id)
		}
	}
	w.known = w.known || len(d.instances)+len(d.unusable) > 0
	w.answer = d.instances
	if w.lostMemory(r.Reset, d.instances, d.machines) {
		w.beginHold()
		w.machines = nil // one loss is noticed once
	}
	if len(d.machines) > 0 {
		w.machines = d.machines
	}
	w.trouble = false
	w.publish()
}

// troubled tells that Consul can not be asked.
func (w *watching) troubled(err error) {
	w.told, w.trouble = false, true
	if w.before != nil { // what the receiver knows is as good as told
		w.last = w.before()
		w.known = len(w.last.Instances) > 0
		w.before = nil
	}
	w.tell(discovery.Update{Err: fmt.Errorf("instances of %q: %w", w.service, err)})
}

// beginHold holds those that the last answer misses.
func (w *watching) beginHold() {
	bound := w.source.o.Hold
	if bound < 0 {
		return
	}
	w.hold.begin(w.last.Instances, time.Now().Add(bound))
	w.hold.merge(w.answer)
	if w.hold.lost = len(w.hold.missing); w.hold.lost == 0 {
		return
	}
	w.source.log.Warn("Consul has lost its memory: instances that it does not know now are called on until they are registered again",
		"service", w.service, "instances", w.hold.lost, "at_most", bound)
	if w.timer == nil {
		w.timer = time.AfterFunc(bound, w.release)
	} else {
		w.timer.Reset(bound)
	}
}

// release ends the hold when its time is up. While Consul can not be asked what
// is known stays; then the next answer ends it.
func (w *watching) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended && !w.trouble {
		w.publish()
	}
}

// publish tells what is to be believed now, if it says something new: outputs of
// checks and indexes change more often than instances do.
func (w *watching) publish() {
	instances := w.answer
	if len(w.hold.missing) > 0 {
		instances = w.held()
	}
	next := discovery.Snapshot{Instances: instances, Unknown: !w.known}
	if w.told && next.Equal(w.last) {
		return
	}
	w.told, w.last = true, next
	w.tell(discovery.Update{Snapshot: next})
}

// held is the answer with those that are held, and tells the log when that ends.
func (w *watching) held() []discovery.Instance {
	if time.Now().Before(w.hold.until) {
		instances := w.hold.merge(w.answer)
		if len(w.hold.missing) == 0 {
			w.source.log.Info("all that Consul had forgotten is registered again", "service", w.service, "instances", w.hold.lost)
		}
		return instances
	}
	w.source.log.Warn("instances that Consul had forgotten have not come back: they are given up",
		"service", w.service, "instances", slices.Sorted(maps.Keys(w.hold.missing)))
	w.hold.missing = nil
	return w.answer
}

// end makes sure that nothing is told any more.
func (w *watching) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	if w.timer != nil {
		w.timer.Stop()
	}
}
