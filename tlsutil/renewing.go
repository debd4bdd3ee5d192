package tlsutil

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// look is how often the wall clock is looked at, which may run while timers
	// stand still; at short lives each twentieth of them.
	look = time.Hour
	// again is how often what is not valid yet is tried again.
	again = 10 * time.Second
)

// run is the renewer's goroutine.
func (r *Renewer) run(ctx context.Context) {
	for ctx.Err() == nil {
		r.mu.Lock()
		now := time.Now().Round(0) // the wall clock alone
		r.settle(now)
		wait, a := r.next(now), r.authority
		r.mu.Unlock()
		if wait <= 0 {
			r.issue(ctx, a)
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// issue asks for a certificate.
func (r *Renewer) issue(ctx context.Context, a Authority) {
	within, cancel := context.WithTimeout(ctx, r.o.Patience)
	defer cancel()
	cert, err := r.o.Issue(within, a)
	if ctx.Err() != nil {
		return // the end is no failure
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.take(cert, a, err, time.Now())
}

// take is the end of an issue.
func (r *Renewer) take(cert tls.Certificate, from Authority, err error, now time.Time) {
	now = now.Round(0)
	if r.issueErr = err; err == nil {
		r.cert, r.from = &cert, from
	}
	r.settle(now)
	if id := r.identity.Load(); err == nil && id != nil && r.inUse(id) && id.Valid(now) == nil {
		r.failures, r.due = 0, now.Add(max(renewAfter(id.NotAfter().Sub(now)), 100*time.Millisecond))
		if !sameSigner(r.authority, from) { // it has changed in the meantime
			r.plan(now)
		}
		return
	}
	left := time.Duration(0)
	if id := r.identity.Load(); id != nil {
		left = id.NotAfter().Sub(now)
	}
	r.failures++
	r.due = now.Add(retryAfter(r.failures, left))
}

// plan brings the next issue forward when somebody else signs.
func (r *Renewer) plan(now time.Time) {
	if r.cert == nil {
		r.due = time.Time{}
		return
	}
	wait := smeared(r.o.Smear)
	switch {
	case sameSigner(r.authority, r.from) && r.fits(now) == nil:
		return
	case r.authority.Domain != r.from.Domain || r.fits(now) != nil:
		wait = rand.N(r.o.Smear/10 + 1) // nobody who knows the new roots trusts it any more
	}
	if at := now.Round(0).Add(wait); at.Before(r.due) {
		r.due = at
	}
}

func sameSigner(a, b Authority) bool { return a.Domain == b.Domain && a.Active == b.Active }

// next is how long there is nothing to do; 0 or less if it is time to issue.
func (r *Renewer) next(now time.Time) time.Duration {
	wait := look
	if id := r.identity.Load(); id != nil {
		if _, until := ageOf(id, now); until > 0 {
			life := id.NotAfter().Sub(id.cert.Leaf.NotBefore)
			wait = min(wait, until, max(life/20, time.Second))
		}
	}
	if errors.Is(r.Err(), ErrNotYetValid) {
		wait = min(wait, again)
	}
	if r.o.Issue != nil && r.authority.Roots != nil {
		wait = min(wait, r.due.Sub(now))
	}
	return wait
}

// settle makes an identity of what is known, if that is possible now, and tells
// what has changed. The caller holds the lock.
func (r *Renewer) settle(now time.Time) {
	before := r.identity.Load()
	id, err := before, errors.Join(r.learnErr, r.issueErr)
	if r.cert != nil && r.authority.Roots != nil && (id == nil || !r.inUse(id)) {
		next, fault := r.assemble(now)
		if fault == nil {
			id = next
		}
		err = errors.Join(err, fault)
	}
	was := r.Err()
	r.trouble.Store(&refusal{err})
	old := r.sound(id, before, now, err)
	r.log(before, id, err)
	if id != before || old || reason(err) != reason(was) {
		r.store(id)
	}
}

// inUse says whether that identity is made of what is known.
func (r *Renewer) inUse(id *Identity) bool {
	return id.roots.sum == r.authority.Roots.sum && id.cert.Leaf.Equal(leafOf(r.cert))
}

// fits says why the certificate can not be shown under the roots.
func (r *Renewer) fits(now time.Time) error {
	_, err := r.assemble(now)
	return err
}

// assemble makes an identity that can be shown now, and that others who trust the
// same roots will trust.
func (r *Renewer) assemble(now time.Time) (*Identity, error) {
	id, err := NewIdentity(*r.cert, r.authority.Roots)
	if err != nil {
		return nil, err
	}
	if err := id.Valid(now); err != nil {
		return nil, err
	}
	if err := id.Check(now); err != nil {
		return nil, fmt.Errorf("certificate under the roots: %w", err)
	}
	return id, nil
}
