package saga

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// run is one saga that is being carried out by its owner. Its record is changed
// under mu, and steps are called without it.
type run struct {
	c      *Coordinator
	p      *plan
	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  chan struct{}

	mu      sync.Mutex
	r       Record
	saved   time.Time // when the last lease began, or earlier
	failing bool      // a step has failed for good
	over    bool      // nothing more is saved
	lost    bool      // it has another owner, or may have
}

// verdict is how it stands with a step, or a group: that of the greatest of its
// steps.
type verdict int

const (
	done    verdict = iota // or undone, or there is nothing to do
	resting                // the next attempt is a while off
	turned                 // no further attempt is to be made
	failed                 // for good
	gone                   // the coordinator closes, or has lost the saga
)

func newRun(c *Coordinator, r Record, p *plan, at time.Time) *run {
	x := &run{c: c, p: p, r: r, saved: at, ended: make(chan struct{})}
	x.ctx, x.cancel = context.WithCancelCause(c.base)
	return x
}

// carry carries the saga as far as it goes.
func (x *run) carry() {
	stopped := make(chan struct{})
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		x.keep(stopped)
	}()
	x.way()
	close(stopped)
	<-kept
	x.cancel(nil)
}

func (x *run) way() {
	if !x.r.Back {
		switch x.forward() {
		case done:
			x.finish(Completed)
			return
		case resting:
			x.rest()
			return
		case gone:
			x.leave()
			return
		case turned, failed:
			if x.pivoted() {
				x.stick()
				return
			}
			if !x.turn() {
				return
			}
		}
	}
	switch x.backward() {
	case done:
		x.finish(Compensated)
	case resting:
		x.rest()
	case gone:
		x.leave()
	case turned, failed:
		x.stick()
	}
}

func (x *run) forward() verdict {
	for _, group := range x.p.groups {
		if v := x.together(group, x.do); v != done {
			return v
		}
	}
	return done
}

func (x *run) backward() verdict {
	for _, group := range slices.Backward(x.p.groups) {
		if v := x.together(group, x.undo); v != done {
			return v
		}
	}
	return done
}

// together does something with all steps of a group at the same time.
func (x *run) together(group []*step, do func(*step) verdict) verdict {
	if len(group) == 1 {
		return do(group[0])
	}
	verdicts := make([]verdict, len(group))
	var wg sync.WaitGroup
	for i, s := range group {
		wg.Go(func() { verdicts[i] = do(s) })
	}
	wg.Wait()
	return slices.Max(verdicts)
}

// pivoted says whether there is no way back.
func (x *run) pivoted() bool {
	return x.p.pivot < len(x.p.steps) && x.r.Steps[x.p.pivot].Status == Done
}

// bounded says whether the saga turns back at its deadline: it goes forward, and
// has not begun its pivot.
func (x *run) bounded() bool {
	return !x.r.Back && !x.r.Deadline.IsZero() && (x.p.pivot == len(x.p.steps) || x.r.Steps[x.p.pivot].Status == Pending)
}

// turn faces the saga backwards, and says whether it is still ours.
func (x *run) turn() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.r.Status, x.r.Back, x.r.Error = Compensating, true, x.reason(Failed)
	if x.r.Error == "" {
		x.r.Error = fmt.Sprintf("it had not passed its pivot or end within %v", x.p.timeout)
	}
	x.r.Error = clip(x.r.Error)
	return x.save(x.c.o.Lease) == nil
}

// reason tells the error of the steps that are in a status.
func (x *run) reason(s StepStatus) (why string) {
	for i := range x.r.Steps {
		if st := &x.r.Steps[i]; st.Status == s {
			if why != "" {
				why += "; "
			}
			why += st.Name + ": " + st.Error
		}
	}
	return why
}

// finish ends the saga.
func (x *run) finish(s Status) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	x.r.Status, x.r.Ended, x.r.NotBefore = s, time.Now().UTC().Round(0), time.Time{}
	_ = x.save(0) // in vain: others come to the same end
}

// rest sets the saga free until there is something to do.
func (x *run) rest() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	x.r.NotBefore = time.Time{}
	for i := range x.r.Steps {
		at := x.r.Steps[i].Next
		if !at.IsZero() && (x.r.NotBefore.IsZero() || at.Before(x.r.NotBefore)) {
			x.r.NotBefore = at
		}
	}
	if x.bounded() && x.r.Deadline.Before(x.r.NotBefore) {
		x.r.NotBefore = x.r.Deadline
	}
	_ = x.save(0) // in vain: its lease runs out
}

// leave sets the saga free for others, at once.
func (x *run) leave() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	if x.lost {
		return
	}
	x.r.NotBefore = time.Now().UTC().Round(0)
	_ = x.save(0) // in vain: its lease runs out
}

// stick gives up until somebody has looked at the saga.
func (x *run) stick() {
	x.mu.Lock()
	x.r.Stuck++
	x.r.Status = Stuck
	way, of := "forward", Failed
	if x.r.Back {
		way, of = "back", Undoing
	}
	x.r.Error = clip("it can not go " + way + ": " + x.reason(of))
	l := x.letter(of)
	x.mu.Unlock()
	x.mourn(l)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	if x.save(0) == nil {
		x.c.o.Logger.Error("a saga is stuck: it needs Retry or Resolve", "saga", x.r.ID, "definition", x.r.Type.String(), "error", x.r.Error)
	}
}

// save writes the record down; it is called under mu. It goes on trying as long
// as the lease lasts, and cancels the saga's steps when it is lost.
func (x *run) save(lease time.Duration) error {
	if x.lost {
		return ErrFenced
	}
	x.r.Updated = time.Now().UTC().Round(0)
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		at := time.Now()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(x.ctx), x.c.o.patience())
		err := x.c.o.Log.Save(ctx, x.r, lease)
		cancel()
		switch {
		case err == nil:
			x.saved = at
			x.c.trouble.about(x.c.o.Logger, "save", nil)
			return nil
		case errors.Is(err, ErrFenced), errors.Is(err, ErrNotFound):
			x.lose(err)
			return err
		}
		x.c.trouble.about(x.c.o.Logger, "save", err)
		if time.Since(x.saved)+pause > x.c.o.Lease {
			x.lose(fmt.Errorf("its lease has run out: %w", err))
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-x.ctx.Done(): // this attempt was the last
			timer.Stop()
			x.lose(err)
			return err
		}
	}
}

// lose ends what is done in the saga's name.
func (x *run) lose(err error) {
	x.lost = true
	x.cancel(fmt.Errorf("saga %s: %w", x.r.ID, err))
}

// keep renews the lease while a step takes its time.
func (x *run) keep(stopped <-chan struct{}) {
	every := x.c.o.Lease / 3
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-stopped:
			return
		case <-timer.C:
		}
		left := every / 8
		if x.mu.TryLock() { // else somebody saves
			if !x.over && !x.lost && time.Since(x.saved) >= every {
				_ = x.save(x.c.o.Lease) // lose has told
			}
			left = max(left, every-time.Since(x.saved))
			x.mu.Unlock()
		}
		timer.Reset(left)
	}
}
