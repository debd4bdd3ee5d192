package outbound

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/telemetry"
)

// Hedger is an [Exchange] that can make several attempts at once.
type Hedger[R any] interface {
	Exchange[R]
	// Prepare makes an attempt ready; send, which shares nothing with other
	// attempts, may then be called from any goroutine. It is nil if the call can
	// not be hedged. Discard must be safe beside all of them.
	Prepare(a *Attempt) (send func() (R, call.Outcome))
	// Choose makes an attempt's answer that of the call.
	Choose(a *Attempt)
}

// hedged returns the exchange if attempts are to be made beside the first.
func hedged[R any](f *Flight, x Exchange[R]) (Hedger[R], bool) {
	if f.route.Hedge == nil || f.Attempts > 0 || f.Stream || f.Options.Attempts == 1 ||
		call.InboundFrom(f.ctx).Attempt > 1 || f.route.Hedge.After(f.began) < 0 {
		return nil, false
	}
	h, able := x.(Hedger[R])
	if !able {
		return nil, false
	}
	if !f.Idempotent {
		given, needless := x.Keyed()
		f.Idempotent = given || needless
	}
	return h, f.Idempotent && f.Replayable
}

// race is try with further attempts that start while the first is under way.
// What is answered first wins, unless it is of the kind that would be tried
// again; then the next does, or the last.
//
// All that concerns the flight happens here, in the goroutine of Do.
type race[R any] struct {
	f       *Flight
	x       Hedger[R]
	runners []*runner[R]
	done    chan *runner[R]
	under   int // way
}

// runner is one attempt of a race.
type runner[R any] struct {
	a     *Attempt
	state atomic.Int32
	r     R
	out   call.Outcome
	// counted says that the upstream's end waits for it, once it is abandoned.
	counted bool
}

// The states of a runner: who moves it from running first has the last word.
const (
	running int32 = iota
	arrived
	abandoned
)

func newRace[R any](f *Flight, x Hedger[R]) *race[R] {
	return &race[R]{f: f, x: x, done: make(chan *runner[R], f.route.Hedge.Attempts)} // nobody waits to tell
}

// try makes the first attempt, and others when their time has come.
func (r *race[R]) try() (R, call.Outcome) {
	var none R
	started, err := r.start()
	if err != nil {
		return none, r.f.classify(rejected(err))
	}
	if !started { // it can only be made alone
		return alone(r.f, r.x, r.f.attempt)
	}
	timer := time.NewTimer(r.wait(r.f.began))
	defer timer.Stop()
	for {
		select {
		case won := <-r.done:
			r.under--
			if r.take(won) {
				r.abandon(won)
				return won.r, won.out
			}
		case <-timer.C:
			if r.more() {
				timer.Reset(max(r.wait(mono.Now()), time.Millisecond))
			}
		}
	}
}

// wait is how long an answer is waited for before the next attempt: for ever, if
// meanwhile nobody knows any more how long answers take.
func (r *race[R]) wait(now time.Duration) time.Duration {
	if after := r.f.route.Hedge.After(now); after >= 0 {
		return after
	}
	return math.MaxInt64
}

// start begins an attempt.
func (r *race[R]) start() (bool, error) {
	kind := telemetry.First
	if r.f.Attempts > 0 {
		kind = telemetry.Hedge
	}
	a, err := r.f.next(kind)
	if err != nil {
		return false, err
	}
	send := r.x.Prepare(a)
	if send == nil {
		return false, nil
	}
	if r.f.route.Injector != nil {
		send = befall(r.f, r.x, a, send)
	}
	run := &runner[R]{a: a}
	r.runners = append(r.runners, run)
	r.under++
	go r.run(run, send) // ends with its attempt, and is waited for: see abandon
	return true, nil
}

// run makes an attempt, and clears up after one that was abandoned meanwhile.
func (r *race[R]) run(run *runner[R], send func() (R, call.Outcome)) {
	run.r, run.out = send()
	if run.state.CompareAndSwap(running, arrived) {
		r.done <- run
		return
	}
	r.clear(run)
	if run.counted {
		r.f.upstream.Done()
	}
}

// clear gets rid of an attempt that nobody waits for.
func (r *race[R]) clear(run *runner[R]) {
	if run.out.Err == nil {
		r.x.Discard(run.r)
	}
	run.a.release()
}

// more begins another attempt, if the call may have it and there is an instance
// it was not sent to. It says whether there might be yet another.
func (r *race[R]) more() bool {
	f, now := r.f, mono.Now()
	if f.Attempts >= f.route.Hedge.Attempts || f.Options.Attempts > 0 && f.Attempts >= f.Options.Attempts {
		return false
	}
	if fresh, _ := f.to.Choice(f.info(now)); !fresh || f.enough(f.left(now), now) == 0 || !f.route.Budget.Withdraw(now) {
		return false
	}
	last := f.attempt
	started, err := r.start()
	if !started {
		if err == nil { // it was picked
			f.attempt.judge(f, rejected(nil), now)
			f.attempt.release()
		}
		f.attempt = last
		return false
	}
	f.upstream.Retried()
	f.span.Hedging(&f.Call)
	return f.Attempts < f.route.Hedge.Attempts
}

// take looks at an attempt that has ended, and says whether it is the call's.
func (r *race[R]) take(run *runner[R]) bool {
	f := r.f
	f.attempt = run.a
	run.out = f.classify(run.out)
	f.Judge(run.out)
	if r.under == 0 || !f.route.Retry.Wants(&f.Call, run.out) && run.out.Err == nil {
		f.Instance = run.a.Member().ID
		r.x.Choose(run.a)
		return true
	}
	f.note(run.out)
	r.clear(run)
	return false
}

// abandon gives all other attempts up, at once. They are over when their
// transport has noticed; the upstream's end waits for that.
func (r *race[R]) abandon(won *runner[R]) {
	f := r.f
	for _, run := range r.runners {
		if run == won || run.a.judged {
			continue
		}
		f.took(run.a)
		if run.a.trouble == nil {
			run.a.pick.Outrun()
		}
		run.a.judge(f, call.Outcome{Reason: call.Canceled, Sent: call.SentUnknown, Err: context.Canceled}, mono.Now())
		run.a.Cancel()
		run.counted = f.upstream.Begin()
		if !run.state.CompareAndSwap(running, abandoned) { // it came at the same moment
			r.clear(run)
			if run.counted {
				f.upstream.Done()
			}
		}
	}
}
