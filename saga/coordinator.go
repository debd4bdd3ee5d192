package saga

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/innermesh/innermesh/idempotency"
)

// Coordinator carries sagas out: those that it starts, and those in the log that
// nobody owns, which is how the sagas of a process that died go on. Any number of
// coordinators may share a log. It is safe for concurrent use.
type Coordinator struct {
	o       Options
	plans   map[Runnable]*plan
	types   map[Type]*plan
	mine    []Type
	trouble trouble

	base   context.Context // of all steps
	cancel context.CancelCauseFunc
	drain  chan struct{} // closed: nothing new is begun
	stop   sync.Once
	kick   chan struct{} // there may be something to claim
	loops  sync.WaitGroup
	work   sync.WaitGroup // the runs

	mu       sync.Mutex
	closed   bool
	runs     map[string]*run
	reserved int  // places in runs that are promised
	hungry   bool // there is more in the log than there were places for
	next     time.Time
	waiters  map[string][]chan struct{}
}

// New returns a coordinator, which begins at once with what is left in the log,
// or says all that is wrong with its options. Close ends it.
func New(o Options) (*Coordinator, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("saga.Options: %w", err)
	}
	c := &Coordinator{
		o: o.withDefaults(), plans: map[Runnable]*plan{}, types: map[Type]*plan{}, runs: map[string]*run{},
		drain: make(chan struct{}), kick: make(chan struct{}, 1), waiters: map[string][]chan struct{}{},
	}
	for _, d := range o.Definitions {
		p, err := d.plan()
		if err != nil {
			return nil, err
		}
		c.plans[d], c.types[p.Type] = p, p
		c.mine = append(c.mine, p.Type)
	}
	c.base, c.cancel = context.WithCancelCause(context.Background())
	c.loops.Go(c.claimer)
	c.loops.Go(c.tend)
	return c, nil
}

// Start begins a saga, and returns when that is durable: from then on it will end
// in one of its two ways. To start an ID again with the same definition and state
// does nothing; with others it is [ErrDifferent]. After another error the saga
// may have been started all the same: start it again to be sure. The saga does
// not end with ctx.
func Start[S any](ctx context.Context, c *Coordinator, d *Definition[S], id string, state S) error {
	p := c.plans[d]
	if p == nil {
		return fmt.Errorf("start saga %.220q: %w: %.120s is not among the coordinator's Definitions", id, ErrUnknown, d.Name)
	}
	raw, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("start saga %.220q: write its state: %w", id, err)
	}
	if err := c.start(ctx, p, id, raw); err != nil {
		return fmt.Errorf("start saga %.220q: %w", id, err)
	}
	return nil
}

func (c *Coordinator) start(ctx context.Context, p *plan, id string, state json.RawMessage) error {
	if err := checkID(id); err != nil {
		return err
	}
	if len(p.groups) < len(p.steps) {
		if _, err := fields(state); err != nil {
			return err
		}
	}
	now := time.Now().UTC().Round(0)
	sum := sha256.Sum256(state)
	r := Record{
		ID: id, Type: p.Type, Input: hex.EncodeToString(sum[:]), Key: idempotency.NewKey(), Status: Running, State: state,
		Created: now, Updated: now, NotBefore: now, Token: 1, Steps: make([]StepRecord, len(p.steps)),
	}
	if c.o.Trace != nil {
		if r.Trace = c.o.Trace.Save(ctx); traceSize(r.Trace) > maxTrace {
			r.Trace = nil // rather no trace than no saga
		}
	}
	for i, s := range p.steps {
		r.Steps[i] = StepRecord{Name: s.name, Status: Pending}
	}
	if p.timeout > 0 {
		r.Deadline = now.Add(p.timeout)
	}
	places, err := c.reserve(1)
	if err != nil {
		return err
	}
	var lease time.Duration
	if places > 0 {
		r.Owner, lease = c.o.Owner, c.o.Lease
	}
	at := time.Now()
	err = c.o.Log.Create(ctx, r, lease)
	if err == nil && places > 0 {
		c.launch(r, p, at)
		return nil
	}
	c.unreserve(places)
	if err == nil {
		c.look() // whoever holds the places now may not have seen it
		return nil
	}
	if errors.Is(err, ErrExists) {
		return c.compare(ctx, &r)
	}
	return err
}

// compare says whether a saga that exists is the one that was to be started.
func (c *Coordinator) compare(ctx context.Context, want *Record) error {
	have, err := c.get(ctx, want.ID)
	switch {
	case err != nil:
		return err
	case have.Name != want.Name:
		return fmt.Errorf("%w: it is one of %s", ErrDifferent, have.Name)
	case have.Input != want.Input:
		return fmt.Errorf("%w: its state was another one", ErrDifferent)
	default:
		return nil
	}
}

// Close begins nothing more, waits until all attempts under way have ended and
// sets the sagas free for others. When ctx ends before, it cancels the attempts;
// the error then names sagas whose steps do not return within 5 s of that.
func (c *Coordinator) Close(ctx context.Context) error {
	c.stop.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		close(c.drain)
	})
	c.loops.Wait()
	done := make(chan struct{})
	go func() {
		c.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		c.cancel(ErrClosed)
		return nil
	case <-ctx.Done():
	}
	c.cancel(fmt.Errorf("the coordinator: %w", ErrClosed))
	grace := time.NewTimer(5 * time.Second)
	defer grace.Stop()
	select {
	case <-done:
		return nil
	case <-grace.C:
		return fmt.Errorf("close the coordinator: steps of %q do not end with their contexts: %w", c.running(), context.Cause(ctx))
	}
}

// reserve promises up to n places for runs, for which Close waits.
func (c *Coordinator) reserve(n int) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, fmt.Errorf("the coordinator: %w", ErrClosed)
	}
	n = max(0, min(n, c.o.MaxRunning-len(c.runs)-c.reserved))
	c.reserved += n
	c.work.Add(n)
	c.hungry = c.hungry || n == 0
	return n, nil
}

func (c *Coordinator) unreserve(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reserved -= n
	c.work.Add(-n)
}

// launch carries a saga out for which a place is reserved. It was claimed at the
// time given, or later.
func (c *Coordinator) launch(r Record, p *plan, at time.Time) {
	x := newRun(c, r, p, at)
	c.mu.Lock()
	c.reserved--
	former := c.runs[r.ID]
	c.runs[r.ID] = x
	c.mu.Unlock()
	go func() {
		defer c.work.Done()
		if former != nil { // it has lost the saga, and does not know it yet
			former.cancel(ErrFenced)
			<-former.ended
		}
		x.carry()
		c.settle(x)
	}()
}

// settle tells those who wait that a run is over.
func (c *Coordinator) settle(x *run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(x.ended)
	if c.runs[x.r.ID] == x {
		delete(c.runs, x.r.ID)
	}
	for _, w := range c.waiters[x.r.ID] {
		close(w)
	}
	delete(c.waiters, x.r.ID)
	if rest := x.r.NotBefore; !x.lost && !x.r.Status.Ended() && x.r.Status != Stuck && (c.next.IsZero() || rest.Before(c.next)) {
		c.next = rest
		c.nudge()
	}
	if c.hungry {
		c.nudge()
	}
}

// nudge makes the claimer look again.
func (c *Coordinator) nudge() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// running returns the sagas that are carried out.
func (c *Coordinator) running() (ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.runs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// claimer is the goroutine that looks for sagas which nobody carries out.
func (c *Coordinator) claimer() {
	c.claim()
	timer := time.NewTimer(c.pause())
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			c.claim()
		case <-c.kick:
			if c.due() {
				c.claim()
			}
		case <-c.drain:
			return
		}
		timer.Reset(c.pause())
	}
}

// due says whether a kick calls for a claim, or only for an earlier one.
func (c *Coordinator) due() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hungry || !c.next.IsZero() && !c.next.After(time.Now())
}

// pause is how long the claimer may rest.
func (c *Coordinator) pause() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next.IsZero() {
		return c.o.Poll
	}
	return max(time.Millisecond, min(c.o.Poll, time.Until(c.next)))
}

func (c *Coordinator) claim() {
	if len(c.mine) == 0 {
		return
	}
	c.mu.Lock()
	c.hungry, c.next = false, time.Time{}
	c.mu.Unlock()
	places, err := c.reserve(c.o.MaxRunning)
	if err != nil || places == 0 {
		return
	}
	at := time.Now()
	ctx, cancel := context.WithTimeout(c.base, c.o.patience())
	got, err := c.o.Log.Claim(ctx, Claim{Owner: c.o.Owner, Lease: c.o.Lease, Limit: places, Types: c.mine})
	cancel()
	c.trouble.about(c.o.Logger, "claim", err)
	c.unreserve(places - len(got))
	if len(got) == places {
		c.mu.Lock()
		c.hungry = true
		c.mu.Unlock()
	}
	for _, r := range got {
		c.launch(r, c.types[r.Type], at)
	}
}
