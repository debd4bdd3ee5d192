package outbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/deadline"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/route"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/retry"
)

// Flight is one call under way: its facts, its time and where it has been. An
// adapter embeds it in what it allocates for a call anyway, fills in the
// [call.Call] and hands it to [Do].
type Flight struct {
	call.Call

	ctx      context.Context // the caller's, with the call's span
	upstream *upstream.Upstream
	route    *upstream.Route
	to       *upstream.Destination
	began    time.Duration
	until    time.Duration // when the policy's time for the call is over, 0 is never
	judged   time.Duration // when the last attempt was
	paused   time.Duration // before the next attempt
	span     telemetry.Span
	log      *logged // nil unless there is an access log

	place   cluster.Admission
	key     uint64 // what hashing balancers go by, 0 is none
	tried   []*balancer.Member
	places  [4]*balancer.Member
	attempt *Attempt
	first   Attempt

	silence deadline.Silence
	copied  *upstream.Mirror // nil unless it is a copy of a call

	mu    sync.Mutex // an answer may be read and closed from two goroutines
	ended bool
}

// Attempt returns the attempt that was made last, nil before the first.
func (f *Flight) Attempt() *Attempt { return f.attempt }

// Route returns the way that the call takes; Leg the share of it.
func (f *Flight) Route() *upstream.Route { return f.route }

// Leg returns the share of the route that the call fell to.
func (f *Flight) Leg() *upstream.Destination { return f.to }

// start finds the call's way and puts it on the clock.
func (f *Flight) start(ctx context.Context, d *upstream.Directory, r Request) (err error) {
	f.ctx, f.began, f.tried = ctx, mono.Now(), f.places[:0]
	f.inherit(r)
	if f.upstream, err = d.Get(f.Service); err != nil {
		return err
	}
	f.ctx, f.span = f.upstream.Telemetry.StartCall(ctx, &f.Call, f.began)
	plan := f.upstream.Plan()
	if plan == nil {
		if plan, err = f.plan(); err != nil {
			return err
		}
	}
	if f.upstream.Telemetry.Logs(f.ctx) {
		_, path := r.Line()
		f.log = &logged{path: path}
	}
	f.route = plan.Match(r)
	from := route.Origin{Source: f.upstream.Caller(), Affinity: f.Options.Affinity}
	f.to = f.route.Pick(r, from)
	if !f.to.Hash.None() {
		f.key, _ = f.to.Hash.Sum(r, from)
	}
	f.clock(f.route.Total)
	f.Idempotent = f.Idempotent || f.Options.Idempotent
	return f.identify(r) // once: the key is that of the call, not of an attempt
}

// plan waits for the first word about the service's policy, on the clock of
// what is known without it.
func (f *Flight) plan() (*upstream.Plan, error) {
	f.clock(max(time.Duration(f.upstream.Provisional().Timeout.Total), 0))
	ctx, cancel := f.bounded()
	defer cancel()
	return f.upstream.Ready(ctx)
}

// clock sets the end of the call's time.
func (f *Flight) clock(total time.Duration) {
	f.until = 0
	if timeout := cmp.Or(f.Options.Timeout, total); timeout > 0 && !f.Stream {
		f.until = f.began + timeout
	}
}

// ready waits for discovery's first word, which is there for all calls but the
// first ones.
func (f *Flight) ready() error {
	if f.to.IsReady() {
		return nil
	}
	ctx, cancel := f.bounded()
	defer cancel()
	return f.to.Ready(ctx)
}

// bounded is the caller's context with the call's time.
func (f *Flight) bounded() (context.Context, context.CancelFunc) {
	if f.until == 0 {
		return f.ctx, func() {}
	}
	return context.WithTimeout(f.ctx, f.until-mono.Now())
}

// admit waits for a place where there are only so many.
func (f *Flight) admit(r Request) (err error) {
	if !f.to.Bounded() {
		return nil
	}
	ctx, cancel := f.bounded()
	defer cancel()
	f.place, err = f.to.Admit(ctx, &f.Call, r)
	return err
}

func (f *Flight) deposit() { f.route.Budget.Deposit(f.began) }

// next picks an instance for another attempt and passes its breaker. Members
// are looked up anew: who has come meanwhile may be chosen.
func (f *Flight) next(kind telemetry.Attempt) (*Attempt, error) {
	now := f.began
	a := &f.first
	if f.Attempts > 0 {
		now, a = mono.Now(), new(Attempt) // the first may still be known to a transport
	}
	info := f.info(now)
	if f.Attempts > 0 {
		info = f.to.Elsewhere(info)
	}
	pick, err := f.to.Pick(info)
	if err != nil {
		f.attempt = nil
		return nil, err
	}
	f.Attempts++
	f.Instance = pick.ID
	f.tried = append(f.tried, pick.Load())
	a.Try = telemetry.Try{Number: f.Attempts, Kind: kind, Instance: pick.ID, Address: pick.Address, Pause: f.paused}
	a.pick, a.way, f.paused = pick, f.to.Way(pick.Cluster), 0
	a.Silent, a.Follower = f.Stream, !f.Stream && !f.mayStall() && !f.lingers() && f.route.Hedge == nil // nobody waits for our own end of it
	a.Clock = &f.route.Clock
	var before telemetry.Span
	if f.attempt != nil {
		before = f.attempt.span
	}
	ctx, span := f.upstream.Telemetry.StartAttempt(f.ctx, f.span, &f.Call, before)
	f.markCopy(span)
	a.begin(ctx, now, f.tryUntil(now, a), span)
	f.attempt = a
	return a, nil
}

// mayStall says whether the answer is watched for silence that its caller would
// not end before.
func (f *Flight) mayStall() bool {
	if f.route.Vigil.After <= 0 || f.Protocol != call.HTTP {
		return false
	}
	at, ok := f.ctx.Deadline()
	return !ok || time.Until(at) > f.route.Vigil.After
}

// lingers says whether what waits on an attempt could wait for ever: on a caller
// whose time has no end. net/http's client connections leave a context behind when
// an attempt fails.
func (f *Flight) lingers() bool {
	_, ok := f.ctx.Deadline()
	return f.Protocol == call.HTTP && !ok && f.ctx.Done() != nil
}

func (f *Flight) info(now time.Duration) balancer.Info {
	return balancer.Info{Now: now, Tried: f.tried, Key: f.key}
}

// tryUntil is when an attempt that starts now has run out of time.
func (f *Flight) tryUntil(now time.Duration, a *Attempt) time.Duration {
	perTry := f.route.PerTry
	if f.route.Spares {
		perTry = f.sparing(now, a.Member())
		a.spares = perTry < f.route.PerTry
	}
	switch until := now + perTry; {
	case perTry == 0 || f.Options.Timeout != 0 && perTry >= f.Options.Timeout:
		return f.until
	case f.until == 0:
		return until
	default:
		return min(until, f.until)
	}
}

// sparing is the time of an attempt when nobody has set it. It is half of the
// policy's total; where the caller's own time is nearer it is all of that but what
// another attempt would take, so that an instance which hangs does not use it up.
// Half would cut short what is slow by nature now and then. It is only for calls
// that would be tried again, and only if the little is little indeed.
func (f *Flight) sparing(now time.Duration, m *cluster.Member) time.Duration {
	left := f.left(now)
	if f.Stream || left < 0 || left >= 2*f.route.PerTry || f.Options.Timeout == 0 && f.until != 0 && left >= f.until-now {
		return f.route.PerTry
	}
	f.Idempotent = f.Idempotent || f.route.Policy.Retry.Idempotent(f.Method)
	pause, again := f.route.Retry.Ahead(&f.Call, now)
	if !again {
		return f.route.PerTry
	}
	usual := m.Load().Latency(now)
	if usual == 0 { // nobody knows it yet: it should be like the others
		usual = f.to.Quickest(f.info(now))
	}
	spare := max(4*usual, pause+usual, left/16)
	if usual == 0 || spare > left/4 {
		return f.route.PerTry
	}
	return min(left-spare, f.route.PerTry)
}

// classify corrects what an adapter can not know: whose time it was that ran
// out, and that the caller has gone.
func (f *Flight) classify(out call.Outcome) call.Outcome {
	a := f.attempt
	switch {
	case out.Err == nil:
	case f.ctx.Err() != nil:
		out.Reason = call.Canceled
		if errors.Is(f.ctx.Err(), context.DeadlineExceeded) {
			out.Reason = call.Expired
		}
		if !errors.Is(out.Err, f.ctx.Err()) {
			out.Err = fmt.Errorf("%w (%w)", f.ctx.Err(), out.Err)
		}
	case a != nil && a.stalled.Load():
		out.Reason = call.Expired
		out.Err = fmt.Errorf("nothing came or went for %v, the idle timeout: %w", f.route.Vigil.After, context.DeadlineExceeded)
	case out.Reason == call.Rejected:
		if errors.Is(out.Err, context.DeadlineExceeded) {
			out.Reason = call.Expired
		}
	case a != nil && a.TimedOut():
		out.Reason = call.TryTimeout
		if a.until == f.until {
			out.Reason = call.Expired
		}
		within := fmt.Errorf("no answer within %v: %w", (a.until - a.began).Round(time.Millisecond), context.DeadlineExceeded)
		if errors.Is(out.Err, call.ErrInjected) || errors.Is(out.Err, limit.ErrFull) {
			within = fmt.Errorf("%w (%w)", within, out.Err)
		}
		out.Err = within
	}
	return out
}

// Judge tells the balancer's side how the attempt went. Streams are judged by
// their adapter, as soon as a first message or the end says enough; all others
// are judged on the path.
func (f *Flight) Judge(out call.Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.judge(out)
}

func (f *Flight) judge(out call.Outcome) {
	if f.attempt != nil && !f.attempt.judged {
		f.judged = mono.Now()
		f.attempt.judge(f, out, f.judged)
		if f.route.Hedge != nil && out.Reason == call.OK {
			f.took(f.attempt)
		}
	}
}

// took tells how long the first attempt took, or has taken until it was given
// up. Others are no fair sample: they are made when things are slow.
func (f *Flight) took(a *Attempt) {
	if a.Number == 1 && a.trouble == nil {
		now := mono.Now()
		f.route.Hedge.Took(now, now-a.began)
	}
}

// verdict says whether the call is tried again, and after which pause. If it is
// not although it might have been, the reason is added to the outcome's error.
func (f *Flight) verdict(out *call.Outcome) (wait time.Duration, again bool) {
	if !f.route.Retry.Wants(&f.Call, *out) && !f.waits(out) {
		return 0, false
	}
	now := mono.Now()
	fresh, open := f.to.Choice(f.info(now))
	if !open && !f.WaitForReady {
		return 0, false // whatever was answered is better than nothing
	}
	if out.Reason == call.Rejected && f.WaitForReady {
		out.Reason = call.Unreachable // as with an instance that can not be reached: wait and try again
		fresh = false
	}
	left := f.left(now)
	wait, again, why := f.route.Retry.Next(&f.Call, *out, f.enough(left, now), now, fresh)
	if f.WaitForReady && errors.Is(why, retry.ErrNoTime) {
		return left, true // who wants to wait waits to the end of its time
	}
	if why != nil {
		f.way().RetryRefused(f.ctx, f.Protocol, refusal(why))
		f.span.RetryRefused(refusal(why))
	}
	if why != nil && out.Err != nil {
		out.Err = fmt.Errorf("%w (not tried again: %w)", out.Err, why)
	}
	if again {
		f.note(*out)
		f.upstream.Retried()
		f.way().Retried(f.ctx, f.Protocol, out.Reason)
		f.trouble(*out, true)
		f.span.Retrying(&f.Call, out.Reason, wait)
	}
	return wait, again
}

// waits says whether the call would rather wait than be told that nobody is
// there.
func (f *Flight) waits(out *call.Outcome) bool { return f.WaitForReady && out.Reason == call.Rejected }

// enough is what of the time that is left can be waited before another attempt:
// one that can not be answered in the rest is not made.
func (f *Flight) enough(left, now time.Duration) time.Duration {
	if left < 0 {
		return left
	}
	return max(left-f.to.Quickest(f.info(now)), 0)
}

// Left is how much time an attempt has that is about to be sent, negative if it
// has no end or the route wants that kept quiet.
func (f *Flight) Left(a *Attempt) time.Duration {
	if !f.route.Tells {
		return -1
	}
	now := mono.Now()
	left := f.left(now)
	if a.until != 0 {
		if own := max(a.until-now, 0); left < 0 || own < left {
			left = own
		}
	}
	return left
}

// left is how much time the call has, negative if it has no end.
func (f *Flight) left(now time.Duration) time.Duration {
	left := time.Duration(-1)
	if f.until != 0 {
		left = max(f.until-now, 0)
	}
	if at, ok := f.ctx.Deadline(); ok {
		if own := max(time.Until(at), 0); left < 0 || own < left {
			left = own
		}
	}
	return left
}

// pause waits between two attempts. It fails when the caller has gone or no time
// is left, and names the last attempt's error too.
func (f *Flight) pause(d time.Duration, last error) error {
	err := f.ctx.Err()
	f.paused = d
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-f.ctx.Done():
			err = f.ctx.Err()
		}
	}
	if err == nil && f.left(mono.Now()) == 0 {
		err = context.DeadlineExceeded
	}
	if err != nil && last != nil {
		err = fmt.Errorf("%w (last attempt: %w)", err, last)
	}
	return err
}

// release gives back what the last attempt has taken.
func (f *Flight) release() {
	if f.attempt != nil {
		f.attempt.release()
	}
}

// note remembers the last attempt, which has failed.
func (f *Flight) note(out call.Outcome) {
	a := f.attempt
	if a == nil || a.noted {
		return
	}
	a.noted = true
	ended := f.judged
	if !a.judged { // the caller has gone before
		ended = mono.Now()
	}
	f.Tried(call.Try{
		Instance: a.Member().ID, Reason: out.Reason, Sent: out.Sent,
		Began: time.Now().Add(a.began - mono.Now()), Took: ended - a.began,
	})
}

func (f *Flight) record(out call.Outcome, now time.Duration) {
	if f.copied != nil {
		f.recordCopy(out)
	} else { // nobody waits for a copy
		f.upstream.Signals.Record(out.Reason, now-f.began)
	}
	f.way().Called(f.ctx, &f.Call, out, now-f.began)
	if f.log != nil {
		f.log.status, f.log.reason, f.log.answered = out.Status, out.Reason, now-f.began
	}
	if f.span.IsRecording() {
		if open, ok := errors.AsType[*cluster.AllOpenError](out.Err); ok && open.First != nil {
			f.span.BreakersOpen(open.First.Name)
		}
		f.span.Answered(&f.Call, out)
	}
}

// Inject writes the trace that the attempt belongs to.
func (f *Flight) Inject(a *Attempt, into telemetry.Carrier) { f.upstream.Telemetry.Inject(a, into) }
