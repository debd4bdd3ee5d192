package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/idempotency"
)

// patience is how long a saga waits for its next attempt without being set free.
const patience = time.Second

var errInterrupted = errors.New("its last attempt was interrupted, and how that ended is not known")

// do carries a step out, attempt after attempt.
func (x *run) do(s *step) verdict {
	st := &x.r.Steps[s.index]
	for {
		if v := x.wait(st); v != done {
			return v
		}
		x.mu.Lock()
		switch {
		case st.Status == Done:
			x.mu.Unlock()
			return done
		case st.Status == Failed:
			x.failing = true
			x.mu.Unlock()
			return failed
		case x.late(s):
			x.mu.Unlock()
			return turned
		case s.retry.spent(st.Attempts):
			x.fail(st, errInterrupted)
			x.mu.Unlock()
			return failed
		}
		effect := st.Effect
		x.begin(st, Begun, &st.Attempts)
		st.Effect = true
		if x.save(x.c.o.Lease) != nil {
			x.mu.Unlock()
			return gone
		}
		base, attempt := x.r.State, st.Attempts
		ctx, cancel := x.limit(s, attempt, false)
		x.mu.Unlock()
		next, err := perform(ctx, s.do, base)
		cancel()

		x.mu.Lock()
		v, again := done, false
		if err == nil {
			err = x.take(s, st, base, next)
		}
		switch {
		case err == nil:
			x.end(st, Done)
			if s.group && x.save(x.c.o.Lease) != nil { // others may take long yet
				v = gone
			}
		case x.ctx.Err() != nil && !marked(err): // that it failed is our doing
			st.Attempts--
			v = gone
		case s.retry.final(err) || s.retry.spent(st.Attempts):
			if harmless(err) {
				st.Effect = effect
			}
			x.fail(st, err)
			v = failed
		default:
			again = true
			st.Error = clip(err.Error())
			st.Next = time.Now().UTC().Round(0).Add(s.retry.after(st.Attempts))
		}
		x.mu.Unlock()
		if !again {
			return v
		}
	}
}

// undo takes a step back, attempt after attempt.
func (x *run) undo(s *step) verdict {
	st := &x.r.Steps[s.index]
	x.mu.Lock()
	switch {
	case st.Status == Pending || st.Status == Undone:
		x.mu.Unlock()
		return done
	case st.Status == Undoing:
	case s.undo == nil || !st.Effect:
		st.Status, st.Next = Undone, time.Time{}
		x.mu.Unlock()
		return done
	default:
		st.Next = time.Time{} // that was for Do
	}
	x.mu.Unlock()
	for {
		if v := x.wait(st); v != done {
			return v
		}
		x.mu.Lock()
		if s.back.spent(st.Undos) {
			x.mu.Unlock()
			return failed
		}
		x.begin(st, Undoing, &st.Undos)
		if x.save(x.c.o.Lease) != nil {
			x.mu.Unlock()
			return gone
		}
		base, attempt := x.view(st), st.Undos
		ctx, cancel := x.limit(s, attempt, true)
		x.mu.Unlock()
		next, err := perform(ctx, s.undo, base)
		cancel()

		x.mu.Lock()
		v, again := done, false
		if err == nil {
			err = x.takeBack(s, base, next)
		}
		switch {
		case err == nil:
			x.end(st, Undone)
			if s.group && x.save(x.c.o.Lease) != nil {
				v = gone
			}
		case x.ctx.Err() != nil && !marked(err):
			st.Undos--
			v = gone
		default:
			st.Error = clip(err.Error())
			if s.back.final(err) || s.back.spent(st.Undos) {
				st.Next = time.Time{}
				v = failed
				break
			}
			again = true
			st.Next = time.Now().UTC().Round(0).Add(s.back.after(st.Undos))
		}
		x.mu.Unlock()
		if !again {
			return v
		}
	}
}

// wait waits until the step may be tried.
func (x *run) wait(st *StepRecord) verdict {
	x.mu.Lock()
	next := st.Next
	if x.bounded() && x.r.Deadline.Before(next) {
		next = x.r.Deadline
	}
	x.mu.Unlock()
	select {
	case <-x.ctx.Done():
		return gone
	case <-x.c.drain:
		return gone
	default:
	}
	left := time.Until(next)
	switch {
	case next.IsZero() || left <= 0:
		return done
	case left > patience:
		return resting
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return done
	case <-x.ctx.Done():
		return gone
	case <-x.c.drain:
		return gone
	}
}

// late says whether the saga turns back rather than try the step.
func (x *run) late(s *step) bool {
	if s.index > x.p.pivot {
		return false
	}
	return x.failing || x.bounded() && !time.Now().Before(x.r.Deadline)
}

// begin notes the beginning of an attempt.
func (x *run) begin(st *StepRecord, s StepStatus, count *int) {
	*count++
	st.Status, st.Next = s, time.Time{}
	if st.Began.IsZero() {
		st.Began = time.Now().UTC().Round(0)
	}
}

// end notes how a step has ended.
func (x *run) end(st *StepRecord, s StepStatus) {
	st.Status, st.Next, st.Ended = s, time.Time{}, time.Now().UTC().Round(0)
	if s == Done || s == Undone {
		st.Error = ""
	}
}

func (x *run) fail(st *StepRecord, err error) {
	x.failing = true
	st.Error = clip(err.Error())
	x.end(st, Failed)
}

// limit returns the context of an attempt.
func (x *run) limit(s *step, attempt int, undo bool) (context.Context, context.CancelFunc) {
	do := idempotency.Derive(x.r.Key, "do "+s.name)
	d := Doing{Saga: x.r.ID, Definition: x.r.Name, Step: s.name, Undo: undo, Attempt: attempt, Key: do, DoKey: do, Token: x.r.Token}
	if undo {
		d.Key = idempotency.Derive(x.r.Key, "undo "+s.name)
	}
	ctx := x.ctx
	if x.c.o.Trace != nil {
		ctx = x.c.o.Trace.Restore(ctx, x.r.Trace)
	}
	ctx = idempotency.WithKey(context.WithValue(ctx, doingKey{}, d), d.Key)
	ctx = call.With(ctx, call.Options{Key: d.Key})
	var end time.Time
	if s.timeout > 0 {
		end = time.Now().Add(s.timeout)
	}
	if bound := x.r.Deadline; !undo && s.index < x.p.pivot && !bound.IsZero() && (end.IsZero() || bound.Before(end)) {
		end = bound
	}
	if end.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end)
}

// PanicError is the error of a step that has panicked: an attempt like others
// that failed.
type PanicError struct {
	Value any
	Stack []byte
}

// Error tells the value; the stack is long.
func (e *PanicError) Error() string { return fmt.Sprintf("the step has panicked: %v", e.Value) }

// perform calls a step.
func perform(
	ctx context.Context, fn func(context.Context, json.RawMessage) (json.RawMessage, error), state json.RawMessage,
) (next json.RawMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			next, err = nil, &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return fn(ctx, state)
}
