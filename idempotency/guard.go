package idempotency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/innermesh/innermesh/call"
)

// What a guard says instead of letting a request in. They are the caller's to
// hear, [ErrStore] excepted.
var (
	// ErrNoKey: the operation requires a key.
	ErrNoKey = errors.New("this operation requires an idempotency key")
	// ErrRunning: another request with this key is being carried out.
	ErrRunning = errors.New("a request with this idempotency key is being carried out")
	// ErrMismatch: the key was given to a request that asked for something else.
	ErrMismatch = errors.New("this idempotency key was used for another request")
	// ErrNotKept: the operation was carried out, and its answer was too large to
	// be kept.
	ErrNotKept = errors.New("the request with this idempotency key was carried out; its answer was not kept")
	// ErrLapsed: who carried out the operation died, and nobody knows how far it
	// came.
	ErrLapsed = errors.New("the request with this idempotency key was begun, and its outcome is unknown")
	// ErrStore: the store could not be asked, and the guard fails closed. Nothing
	// was done.
	ErrStore = errors.New("the idempotency store is not available")
)

// Guard carries out operations with a key once. It is safe for concurrent use,
// and there is nothing to close: what it starts ends with the request.
type Guard struct {
	o       Options
	health  health
	running running
	stats   counters
}

// New returns a guard, or says all that is wrong with its options.
func New(o Options) (*Guard, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("idempotency: %w", err)
	}
	g := &Guard{o: o.withDefaults()}
	g.health.log, g.health.open = g.o.Logger, g.o.FailOpen
	g.running.ends = map[ID]chan struct{}{}
	return g, nil
}

// Options returns what the guard goes by, defaults filled in.
func (g *Guard) Options() Options { return g.o }

// Key returns the key among what a request has under [Header] or [Metadata], ""
// if it has none and needs none. Errors: [ErrKey], [ErrNoKey].
func (g *Guard) Key(fields []string, required bool) (key string, err error) {
	switch {
	case len(fields) == 0 && required:
		g.stats.noKey.Add(1)
		return "", ErrNoKey
	case len(fields) == 0:
		return "", nil
	case len(fields) == 1:
		key, err = ParseKey(fields[0])
	default:
		err = fmt.Errorf("%w: there are %d of them", ErrKey, len(fields))
	}
	if err != nil {
		g.stats.malformed.Add(1)
	}
	return key, err
}

// Request is what a guard has to know of a request.
type Request struct {
	Protocol call.Protocol
	// Caller is who sends it, "" if all are alike.
	Caller string
	// Route is what is asked for.
	Route string
	// Key is the caller's.
	Key string
	// Fingerprint is of everything that makes the request what it is.
	Fingerprint Fingerprint
}

// Enter lets a request in. If [Turn.Replay] has an outcome, that is the answer;
// else the caller carries the operation out with [Turn.Context] and ends its
// turn:
//
//	turn, err := guard.Enter(ctx, request)
//	if err != nil {
//		return refuse(err)
//	}
//	defer turn.Abandon() // no effect after Complete
//	if o := turn.Replay(); o != nil {
//		return *o
//	}
//	outcome := handle(turn.Context())
//	turn.Complete(outcome)
//
// A repeat waits while the first runs. Errors: [ErrKey], [ErrRunning],
// [ErrMismatch], [ErrNotKept], [ErrLapsed], [ErrStore], by [errors.Is].
func (g *Guard) Enter(ctx context.Context, r Request) (*Turn, error) {
	if err := CheckKey(r.Key); err != nil {
		g.stats.malformed.Add(1)
		return nil, err
	}
	c := Claim{
		ID: NewID(r.Caller, r.Route, r.Key), Fingerprint: r.Fingerprint, Token: NewToken(),
		Lease: g.o.Lease, TTL: g.o.TTL,
	}
	entry, err := g.claim(ctx, c)
	switch {
	case errors.Is(err, ErrRunning):
		g.stats.conflicts.Add(1)
		return nil, err
	case err != nil && ctx.Err() != nil: // nobody waits for an answer
		g.undo(ctx, c, err)
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	case err != nil && g.o.FailOpen:
		g.undo(ctx, c, err)
		g.stats.unguarded.Add(1)
		return newTurn(ctx, g, r, c), nil
	case err != nil:
		g.undo(ctx, c, err)
		g.stats.refused.Add(1)
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	switch entry.State {
	case First:
		return g.first(ctx, r, c, entry)
	case Mismatch:
		g.stats.mismatches.Add(1)
		return nil, ErrMismatch
	default: // Done
		return g.repeat(ctx, r, c, entry.Outcome)
	}
}

// claim asks the store until it has an answer other than Running.
func (g *Guard) claim(ctx context.Context, c Claim) (entry Entry, err error) {
	var late *time.Timer
	defer func() {
		if late != nil {
			late.Stop()
		}
	}()
	for pause := firstPoll; ; pause = min(2*pause, lastPoll) {
		err := g.ask(ctx, func(ctx context.Context) (err error) {
			entry, err = g.o.Store.Begin(ctx, c)
			return err
		})
		if err != nil || entry.State != Running {
			return entry, err
		}
		if g.o.Wait < 0 {
			return entry, ErrRunning
		}
		if late == nil {
			g.stats.waited.Add(1)
			late = time.NewTimer(g.o.Wait)
		}
		poll := time.NewTimer(pause)
		select {
		case <-g.running.end(c.ID): // of this process; for others there is the poll
		case <-poll.C:
		case <-late.C:
			poll.Stop()
			return entry, fmt.Errorf("%w, and was not done within %v", ErrRunning, g.o.Wait)
		case <-ctx.Done():
			poll.Stop()
			return entry, fmt.Errorf("%w: %w", ErrRunning, context.Cause(ctx))
		}
		poll.Stop()
	}
}

// How often the outcome of another process is asked for.
const (
	firstPoll = 10 * time.Millisecond
	lastPoll  = 250 * time.Millisecond
)

// undo gives back a claim of which nobody knows whether the store has taken it.
func (g *Guard) undo(ctx context.Context, c Claim, err error) {
	if errors.Is(err, ErrFull) || errors.Is(err, ErrCorrupt) || errors.Is(err, errResting) {
		return // it has not
	}
	_ = g.ask(context.WithoutCancel(ctx), func(ctx context.Context) error {
		return g.o.Store.Abandon(ctx, c.ID, c.Token)
	})
}

// first begins the turn of an owner.
func (g *Guard) first(ctx context.Context, r Request, c Claim, entry Entry) (*Turn, error) {
	t := newTurn(ctx, g, r, c)
	t.own(entry.Owner)
	if entry.Owner == 1 {
		g.stats.first.Add(1)
		return t, nil
	}
	g.stats.lapsed.Add(1)
	if g.o.Lapsed == Rerun {
		return t, nil
	}
	_ = t.keep(Outcome{Missing: MissingAll}) // so that those after us need not find out again
	return nil, ErrLapsed
}

// repeat tells what was told before.
func (g *Guard) repeat(ctx context.Context, r Request, c Claim, o Outcome) (*Turn, error) {
	switch o.Missing {
	case Nothing:
		g.stats.replayed.Add(1)
		t := newTurn(ctx, g, r, c)
		t.replay = &o
		return t, nil
	case MissingBody:
		g.stats.notKept.Add(1)
		return nil, fmt.Errorf("%w: its status was %d", ErrNotKept, o.Status)
	default:
		g.stats.lapsed.Add(1)
		return nil, ErrLapsed
	}
}

// ask puts one question to the store, unless it rests.
func (g *Guard) ask(ctx context.Context, question func(context.Context) error) error {
	if err := g.health.admit(); err != nil {
		return err
	}
	return g.insist(ctx, question)
}

// insist asks also when the store rests: what has begun must be ended if there
// is any chance. It keeps to the store's time, and learns from the answer how
// the store is.
func (g *Guard) insist(ctx context.Context, question func(context.Context) error) error {
	bounded, cancel := context.WithTimeoutCause(ctx, g.o.StoreTimeout, errSlow)
	defer cancel()
	err := question(bounded)
	if err != nil && errors.Is(context.Cause(bounded), errSlow) {
		err = fmt.Errorf("%w within %v: %w", errSlow, g.o.StoreTimeout, err)
	}
	if err == nil || ctx.Err() == nil { // a caller who has gone says nothing about the store
		g.health.heard(err)
	}
	return err
}

var errSlow = errors.New("the store did not answer")
