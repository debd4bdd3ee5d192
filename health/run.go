package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// state is what is known of a check.
type state uint8

const (
	unknown state = iota // it has not run yet
	up
	down
)

// running is a check as it runs. What is below Check is guarded by the monitor's
// lock, apart from pending.
type running struct {
	Check
	monitor *Monitor
	pending chan answer // of a run that has not ended in its time; the loop's own

	state  state
	output string    // why it failed last; empty after a pass
	row    int       // runs in a row that speak against the state
	since  time.Time // when the state began
}

// loop asks until ctx ends.
func (r *running) loop(ctx context.Context) {
	for {
		if err := r.once(ctx); ctx.Err() == nil {
			r.record(err)
		}
		timer := time.NewTimer(r.Interval - time.Duration(rand.Float64()*float64(r.Interval)/10))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// once runs the check, unless the last run is still there, and returns its answer.
func (r *running) once(ctx context.Context) error {
	if r.pending != nil {
		select {
		case <-r.pending: // too late to count
			r.pending = nil
		default:
			return fmt.Errorf("hangs: it was to end in %v and has not yet", r.Timeout)
		}
	}
	ended := make(chan answer, 1)
	limited, cancel := context.WithTimeout(ctx, r.Timeout)
	r.monitor.runs.Go(func() {
		defer cancel()
		contained(limited, r.Func, ended)
	})
	select {
	case a := <-ended:
		return a.err
	case <-limited.Done():
	}
	select { // both at a time
	case a := <-ended:
		return a.err
	default:
	}
	r.pending = ended
	return fmt.Errorf("has not answered in %v", r.Timeout)
}

// answer is what a run of a check has come to.
type answer struct{ err error }

// contained calls f and tells how it ended, whichever way: a panic is an error.
func contained(ctx context.Context, f func(context.Context) error, ended chan<- answer) {
	err := errors.New("ended its goroutine")
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panicked: %v", p)
		}
		ended <- answer{err}
	}()
	err = f(ctx)
}

// record takes an answer into account.
func (r *running) record(err error) {
	m := r.monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	want, needed := up, r.Up
	if r.output = ""; err != nil {
		want, needed, r.output = down, r.Down, line(err.Error())
	}
	if r.state == want {
		r.row = 0
		m.note()
		return
	}
	if r.row++; r.state != unknown && r.row < needed {
		m.note()
		return
	}
	first := r.state == unknown
	r.state, r.row, r.since = want, 0, time.Now()
	switch {
	case want == down:
		m.log.Warn("a health check fails", "check", r.Name, "kind", r.Kind.String(), "error", r.output)
	case !first:
		m.log.Info("a health check passes again", "check", r.Name)
	}
	m.note()
}

// line makes a message fit into one line of bounded length.
func line(s string) string {
	const enough = 200
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > enough {
		s = strings.ToValidUTF8(s[:enough], "") + "…"
	}
	return s
}
