package outbound

import (
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
)

// answered notes that the application gets an answer. Reading it is on the
// caller's time: an event stream may last for hours.
func (f *Flight) answered(out call.Outcome) {
	f.attempt.StopClock()
	if f.Stream || f.Protocol == call.HTTP {
		f.silence.Start(&f.route.Vigil, f.attempt)
	}
	if !f.Stream {
		f.place.Answered(out.Reason)
		f.record(out, f.judged)
	}
}

// Wait says that the caller waits for something of the answer, or for something
// of the request to go; Move that it came or went. If nothing does for as long as
// the route allows the attempt is ended.
func (f *Flight) Wait() { f.silence.Wait() }

// Move ends a Wait.
func (f *Flight) Move() { f.silence.Move() }

// Stir says that something has gone out that nobody has waited for.
func (f *Flight) Stir() { f.silence.Stir() }

// Stalled says whether the answer was ended because it was silent.
func (f *Flight) Stalled() bool { return f.attempt.stalled.Load() }

// End ends a call that was answered, when nothing more of the answer will be
// read. out tells how a stream ended; for other calls it matters only if it has
// an error. It may be called more than once.
func (f *Flight) End(out call.Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	f.ended = true
	f.silence.End()
	f.judge(out)
	if f.Stream {
		f.record(out, mono.Now())
	} else if out.Err != nil {
		f.span.Answered(&f.Call, out)
	}
	f.release()
	f.place.Done(out.Reason)
	f.tell(out)
	f.span.End()
}

// Broke ends a call whose answer, already handed out, has broken, and makes the
// error that says how.
func (f *Flight) Broke(out call.Outcome) *call.Error {
	out = f.classify(out)
	f.End(out)
	f.mu.Lock() // a stream's reader and its context may both find it broken
	defer f.mu.Unlock()
	return f.Failure(out)
}

// fail ends a call that got no answer.
func (f *Flight) fail(out call.Outcome) *call.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.upstream != nil && !f.ended {
		out = f.classify(out)
		f.release()
		f.place.Done(out.Reason)
		f.record(out, mono.Now())
		f.trouble(out, false)
		f.tell(out)
		f.span.End()
	}
	f.ended = true
	return f.Failure(out)
}

// Failure makes the error of a call whose last attempt ended so, though there
// may be an answer.
func (f *Flight) Failure(out call.Outcome) *call.Error {
	f.note(out)
	return f.Fail(out)
}
