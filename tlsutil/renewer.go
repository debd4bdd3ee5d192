package tlsutil

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// RenewerOptions say whose certificate is kept fresh, and by whom.
type RenewerOptions struct {
	// Name says in the log and in errors whose certificate it is. Required.
	Name string
	// Issue makes a key and has a certificate for it issued, in the authority's
	// trust domain: leaf first, then intermediates. One call at a time, on the
	// renewer's own goroutine; its context ends after Patience and with Close. Nil:
	// somebody else renews, and certificates come by Bring.
	Issue func(ctx context.Context, a Authority) (tls.Certificate, error)
	// Patience is how long Issue may take. Default: 15 s.
	Patience time.Duration
	// Smear is the span within which a certificate is issued anew after the
	// authority has taken another root: never in its first third, in which the root
	// reaches everybody, and by chance in the rest. Default: 30 s. Negative: at once.
	Smear time.Duration
	// Log hears of changes, refusals and the alarm, once each. Default:
	// slog.Default().
	Log *slog.Logger
}

// Validate reports all faults with the names of their fields.
func (o RenewerOptions) Validate() error {
	var faults []error
	if o.Name == "" {
		faults = append(faults, fmt.Errorf("%s: is empty: say whose certificate it is", "Name"))
	}
	if o.Patience < 0 {
		faults = append(faults, fmt.Errorf("%s: %s: must not be negative, 0 means 15s", "Patience", o.Patience))
	}
	return errors.Join(faults...)
}

// Renewer is a [Source] that keeps a certificate fresh by its own clock: it renews
// after about two thirds of the life, tries again with growing waits when that
// fails, and soon after the authority has taken another root. Sources of
// certificates are built on it: they tell what the authority says of itself with
// Learn, and issue.
//
// Certificate and roots are taken together or not at all: while they do not fit,
// the last good identity stays and Err tells why. Roots arrive before the
// certificate that needs them, so during a change all are trusted. A tenth of the
// life before the end there is a warning, at the end an error; an expired
// certificate is never returned.
//
// It lives by the wall clock, as certificates do, and looks at it every hour and
// every twentieth of a certificate's life: so it finds out when the machine has
// slept. Safe for concurrent use. Close ends its goroutine.
type Renewer struct {
	cell
	o       RenewerOptions
	trouble atomic.Pointer[refusal] // apart from mu: Identity must not wait

	mu        sync.Mutex // guards what follows
	authority Authority
	cert      *tls.Certificate // the last that was issued, whether it fits or not
	from      Authority        // to whom cert was issued
	due       time.Time        // of the next issue
	failures  int              // in a row
	learnErr  error
	issueErr  error
	sounded   age
	told      map[string]bool // in the log since all was well

	wake   chan struct{}
	cancel context.CancelFunc
	runs   sync.WaitGroup
}

// NewRenewer waits for [Renewer.Learn] and issues the first certificate then.
func NewRenewer(o RenewerOptions) (*Renewer, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("keep a certificate fresh: %w", err)
	}
	o.Patience = cmp.Or(o.Patience, 15*time.Second)
	o.Smear = max(cmp.Or(o.Smear, 30*time.Second), 0)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	r := &Renewer{o: o, told: map[string]bool{}, wake: make(chan struct{}, 1)}
	r.trouble.Store(&refusal{})
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.runs.Go(func() { r.run(ctx) })
	return r, nil
}

// Identity returns the last good identity. Until there is one the error wraps
// [ErrNoIdentity], when it has expired [ErrExpired], and says why there is no
// newer one.
func (r *Renewer) Identity() (*Identity, error) {
	err := ErrNoIdentity
	if id := r.identity.Load(); id != nil {
		if err = id.Valid(time.Now()); err == nil {
			return id, nil
		}
	}
	if why := r.Err(); why != nil {
		err = fmt.Errorf("%w; no newer one: %w", err, why)
	}
	return nil, fmt.Errorf("certificate of %s: %w", r.o.Name, err)
}

// Err returns why what was heard last, if anything, is not in use; nil if it is.
func (r *Renewer) Err() error { return r.trouble.Load().err }

// Learn takes what the authority says of itself, or why it could not be asked;
// what was known stays true then.
func (r *Renewer) Learn(a Authority, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		err = a.Validate()
	}
	if r.learnErr = err; err == nil && !r.authority.equal(a) {
		r.authority = a
		r.plan(time.Now())
	}
	r.settle(time.Now())
	r.poke()
}

// Bring takes a certificate that somebody else has renewed, or why there is none.
// With roots that are new as well, Learn comes first.
func (r *Renewer) Bring(cert tls.Certificate, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.take(cert, r.authority, err, time.Now())
	r.poke()
}

// Renew asks for another certificate now, without waiting for it.
func (r *Renewer) Renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.due = time.Time{}
	r.poke()
}

// Close ends renewal and returns when that has ended. The last identity stays in
// use.
func (r *Renewer) Close() error {
	r.cancel()
	r.runs.Wait()
	return nil
}

// poke makes the goroutine look again.
func (r *Renewer) poke() {
	select {
	case r.wake <- struct{}{}:
	default: // it is going to look
	}
}
