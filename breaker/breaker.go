package breaker

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/innermesh/innermesh/call"
)

// ErrOpen is the cause of a call that was refused because what it wants has
// failed too often. The error itself is an [*OpenError].
var ErrOpen = errors.New("circuit open")

// State is what a breaker does with calls.
type State uint8

// The states.
const (
	Closed   State = iota // lets all calls in
	Open                  // lets none in
	HalfOpen              // lets probes in
)

// String returns the word used in metrics, logs and errors.
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case Open:
		return "open"
	default:
		return "half-open"
	}
}

// Change is one change of state. It is told while the breaker is locked: what
// hears it must be quick and must not use the breaker.
type Change struct {
	From, To State
	// Until is when an open breaker lets the first probe in.
	Until time.Time
}

// Breaker guards one instance. It is safe for concurrent use.
//
// Enter before each attempt, and call what it returned exactly once with the
// attempt's reason: failures open the breaker, neutral reasons count for
// nothing.
type Breaker struct {
	name  string
	open  time.Duration
	gate  *gobreaker.TwoStepCircuitBreaker[struct{}]
	since atomic.Int64 // unix nanoseconds of the last change

	halfOpen atomic.Bool
	probes   probes
}

// New returns a closed breaker. name appears in errors; changed may be nil.
func New(name string, o Options, changed func(Change)) *Breaker {
	o = o.withDefaults()
	b := &Breaker{name: name, open: o.Open}
	b.since.Store(time.Now().UnixNano())
	b.gate = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         name,
		MaxRequests:  uint32(o.Probes),
		Interval:     o.Window,
		BucketPeriod: o.Window / buckets,
		Timeout:      o.Open,
		ReadyToTrip:  o.trips,
		IsExcluded:   func(err error) bool { return errors.Is(err, errNeutral) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			now := time.Now()
			b.since.Store(now.UnixNano())
			b.halfOpen.Store(to == gobreaker.StateHalfOpen)
			if changed != nil {
				changed(Change{From: stateOf(from), To: stateOf(to), Until: now.Add(o.Open)})
			}
		},
	})
	return b
}

func (o Options) trips(c gobreaker.Counts) bool {
	if o.Failures > 0 && int(c.ConsecutiveFailures) >= o.Failures {
		return true
	}
	judged := c.Requests - c.TotalExclusions
	return o.Ratio > 0 && int(judged) >= o.MinRequests && float64(c.TotalFailures) >= o.Ratio*float64(judged)
}

// Leave takes back what Enter gave. It must be called exactly once.
type Leave func(err error)

// Enter admits an attempt, or returns an [*OpenError].
func (b *Breaker) Enter() (Leave, error) {
	done, err := b.gate.Allow()
	if err != nil && b.halfOpen.Load() && b.probes.lapse(b.open) {
		done, err = b.gate.Allow()
	}
	if err != nil {
		return nil, b.Refusal()
	}
	if b.halfOpen.Load() {
		return b.probes.add(done), nil
	}
	return done, nil
}

// Done tells the breaker how the admitted attempt ended.
func (l Leave) Done(r call.Reason) {
	switch {
	case r.Failed():
		l(errFailed)
	case r.Neutral():
		l(errNeutral)
	default:
		l(nil)
	}
}

// What gobreaker is told; it never gets to see a call's own error.
var (
	errFailed  = errors.New("failed")
	errNeutral = errors.New("neutral")
)

// State returns the state and since when it holds.
func (b *Breaker) State() (State, time.Time) {
	return stateOf(b.gate.State()), time.Unix(0, b.since.Load())
}

// Counts returns how many outcomes the window holds and how many were failures.
func (b *Breaker) Counts() (judged, failures int) {
	c := b.gate.Counts()
	return int(c.Requests - c.TotalExclusions), int(c.TotalFailures)
}

// Refusal describes the state as the error that a refused Enter returns.
func (b *Breaker) Refusal() *OpenError {
	state, since := b.State()
	return &OpenError{Name: b.name, State: state, Since: since, Probe: since.Add(b.open)}
}

// OpenError says which breaker refused and when it will let a probe in.
type OpenError struct {
	// Name is the instance that is guarded.
	Name string
	// State is Open, or HalfOpen while all probes are under way.
	State State
	// Since is when the state was entered.
	Since time.Time
	// Probe is when an open breaker lets the first probe in.
	Probe time.Time
}

// Error tells who refused, since when and until when.
func (e *OpenError) Error() string {
	if e.State == HalfOpen {
		return fmt.Sprintf("%v for %s: half-open, its probes are under way", ErrOpen, e.Name)
	}
	return fmt.Sprintf("%v for %s since %s, next probe at %s",
		ErrOpen, e.Name, e.Since.Format(time.TimeOnly), e.Probe.Format(time.TimeOnly))
}

// Unwrap returns [ErrOpen].
func (e *OpenError) Unwrap() error { return ErrOpen }

func stateOf(s gobreaker.State) State {
	switch s {
	case gobreaker.StateOpen:
		return Open
	case gobreaker.StateHalfOpen:
		return HalfOpen
	default:
		return Closed
	}
}
