package outbound

import (
	"context"
	"fmt"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/route"
	"github.com/innermesh/innermesh/policy"
)

// Pretender is an [Exchange] that can answer in an instance's place.
type Pretender[R any] interface {
	// Pretend makes an answer of an HTTP status or a gRPC code, whichever is not
	// zero.
	Pretend(a *Attempt, status, code int) (R, call.Outcome)
}

// send sends an attempt, unless the route makes trouble for it.
func send[R any](f *Flight, x Exchange[R], a *Attempt) (R, call.Outcome) {
	if f.route.Injector == nil {
		return x.Send(a)
	}
	return befall(f, x, a, func() (R, call.Outcome) { return x.Send(a) })()
}

// befall decides what befalls an attempt that would be sent so.
func befall[R any](f *Flight, x Exchange[R], a *Attempt, send func() (R, call.Outcome)) func() (R, call.Outcome) {
	if a.trouble = f.route.Injector.Draw(x); a.trouble == nil {
		return send
	}
	return func() (R, call.Outcome) { return suffer(f, x, a, send) }
}

// suffer has the attempt wait first, and then break, be answered by nobody, or
// go on.
func suffer[R any](f *Flight, x Exchange[R], a *Attempt, send func() (R, call.Outcome)) (none R, out call.Outcome) {
	t := a.trouble
	f.upstream.Telemetry.Injected(a, t.Name)
	a.span.Injected(t.Name)
	if t.Wait > 0 && !elapse(a, t.Wait) {
		return none, broken(t, call.NotSent, a.Err())
	}
	switch {
	case t.Connection == policy.BlackHole:
		elapse(a, t.Left()) // even a drill that nobody gives up ends
		return none, broken(t, call.SentUnknown, a.Err())
	case t.Connection == policy.Reset:
		return none, broken(t, call.SentUnknown, nil)
	case t.Status != 0 || t.Code != "":
		if p, ok := x.(Pretender[R]); ok {
			return p.Pretend(a, t.Status, t.CodeNumber())
		}
		return none, broken(t, call.SentUnknown, nil)
	default:
		return send()
	}
}

// elapse waits, unless ctx ends first.
func elapse(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// broken is the outcome of an attempt that was broken on purpose. err is how its
// context ended, if it did.
func broken(t *route.Trouble, sent call.Sent, err error) call.Outcome {
	fault := fmt.Errorf("%s: %w", t.Name, call.ErrInjected)
	if err != nil {
		fault = fmt.Errorf("%w (%w)", fault, err)
	}
	return call.Outcome{Reason: call.Reset, Sent: sent, Err: fault}
}

// Injected is the trouble that was made for the attempt, nil for none.
func (a *Attempt) Injected() *route.Trouble { return a.trouble }
