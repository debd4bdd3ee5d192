package outbound

import (
	"context"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/route"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/internal/upstream"
)

// Exchange is what an adapter knows about one call of its protocol. R is what
// an answer is. The methods are called from the goroutine of Do, one after the
// other.
//
// The type parameter keeps answers typed from the wire to the caller without an
// allocation; only this package and the adapters see it.
type Exchange[R any] interface {
	// Request is what routes are matched against.
	Request
	// Send makes one attempt on the instance of a, within the time of a, which
	// is also a context. If the outcome has no error there is an answer.
	Send(a *Attempt) (R, call.Outcome)
	// Discard gets rid of an answer that nobody will see.
	Discard(r R)
}

// Request is what a call can be asked before it is sent.
type Request interface {
	route.Request
	// Keyed says whether the caller has put an idempotency key on the request, and
	// whether the call needs none, being idempotent by nature.
	Keyed() (given, needless bool)
}

// Do carries one call from its facts to its answer. Top to bottom is the
// contract; the comment beside each step says why it stands there.
//
// An answer leaves the call open: whoever consumes it ends the flight with
// [Flight.End]. An error is always a [*call.Error] and has ended it.
func Do[R any](ctx context.Context, d *upstream.Directory, f *Flight, x Exchange[R]) (R, error) {
	if err := f.start(ctx, d, x); err != nil { // first: the route holds the call's time
		return fail[R](f, rejected(err))
	}
	if err := d.Permits(f.route, f.to, x); err != nil { // before any waiting: it will be refused anyway
		return fail[R](f, rejected(err))
	}
	if err := f.ready(); err != nil { // on the clock: waiting in line costs the call's time
		return fail[R](f, rejected(err))
	}
	if err := f.admit(x); err != nil { // before the attempts: a retry is no new admission
		return fail[R](f, rejected(err))
	}
	f.deposit() // before the first attempt: every call pays for the retries of all
	if len(f.route.Mirrors) > 0 {
		return mirrored(f, x) // after the admission: what is refused is not copied
	}
	return carry(f, x)
}

// carry makes attempts until one is answered or another makes no sense.
func carry[R any](f *Flight, x Exchange[R]) (R, error) {
	for {
		r, out := try(f, x)
		wait, again := f.verdict(&out)
		if !again {
			return settle(f, r, out)
		}
		if out.Err == nil {
			x.Discard(r)
		}
		f.release() // before the wait: an instance is not busy while we sleep
		if err := f.pause(wait, out.Err); err != nil {
			return fail[R](f, rejected(err))
		}
	}
}

// try is one attempt: pick, guard, send, judge.
func try[R any](f *Flight, x Exchange[R]) (R, call.Outcome) {
	if h, is := hedged(f, x); is {
		return newRace(f, h).try()
	}
	kind := telemetry.First
	if f.Attempts > 0 {
		kind = telemetry.Retry
	}
	a, err := f.next(kind)
	if err != nil {
		var none R
		return none, f.classify(rejected(err))
	}
	return alone(f, x, a)
}

// alone makes an attempt that no other is made beside.
func alone[R any](f *Flight, x Exchange[R], a *Attempt) (R, call.Outcome) {
	r, out := send(f, x, a)
	out = f.classify(out)
	if out.Err != nil || !f.Stream { // a stream is judged by its first message
		f.Judge(out)
	}
	return r, out
}

// settle hands the answer out, or makes the error.
func settle[R any](f *Flight, r R, out call.Outcome) (R, error) {
	if out.Err != nil {
		return fail[R](f, out)
	}
	f.answered(out)
	return r, nil
}

func fail[R any](f *Flight, out call.Outcome) (R, error) { //nolint:unparam // there is no answer, that is the point
	var none R
	return none, f.fail(out)
}

// rejected is the outcome of what the library decided without asking anybody.
func rejected(err error) call.Outcome {
	return call.Outcome{Reason: call.Rejected, Sent: call.NotSent, Err: err}
}

// Again goes on with a call whose answer, already handed out, has turned out to
// be none: a stream that broke before its first message. Earlier attempts still
// count. Without another answer the flight is ended, and the error, always a
// [*call.Error], says how.
func Again[R any](f *Flight, x Exchange[R], out call.Outcome) (R, error) {
	out = f.classify(out)
	f.Judge(out)
	wait, again := f.verdict(&out)
	if !again {
		var none R
		return none, f.Broke(out)
	}
	f.release()
	if err := f.pause(wait, out.Err); err != nil {
		return fail[R](f, rejected(err))
	}
	return carry(f, x)
}
