package idempotencytest

import (
	"errors"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/idempotency"
)

// model is what a store should be: an operation is a few words, and time a
// number.
type model struct {
	now time.Duration
	ops map[idempotency.ID]*operation
}

type operation struct {
	fingerprint    idempotency.Fingerprint
	token          idempotency.Token
	owner          int
	done           bool
	status         int
	lease, expires time.Duration
}

// The model's times are shorter than the others: rapid goes by the clock of the
// bubble it may be in, and gives up after a day.
const (
	modelLease = Lease / 20
	modelTTL   = TTL / 20
)

// timeless hides the test's deadline, which may not be asked for in a bubble.
type timeless struct{ rapid.TB }

// model compares a store with a model over random steps.
func (t *suite) model() {
	var round int
	check := func(r *rapid.T) {
		round++
		m := &model{ops: map[idempotency.ID]*operation{}}
		ids := make([]idempotency.ID, 3)
		for i := range ids {
			ids[i] = Name(t.T, fmt.Sprint(round, "/", i))
		}
		var claims []idempotency.Claim // those made so far
		claim := func(r *rapid.T) (idempotency.Claim, *operation) {
			if len(claims) == 0 {
				r.Skip("nothing was claimed")
			}
			c := claims[rapid.IntRange(0, len(claims)-1).Draw(r, "claim")]
			return c, m.ops[c.ID]
		}
		expect := func(r *rapid.T, verb string, got error, lost bool) {
			if lost != errors.Is(got, idempotency.ErrLost) || !lost && got != nil {
				r.Fatalf("%s: %v, want lost: %v", verb, got, lost)
			}
		}
		r.Repeat(map[string]func(*rapid.T){
			"begin": func(r *rapid.T) {
				c := t.claim(rapid.SampledFrom(ids).Draw(r, "id"), rapid.SampledFrom([]string{"same", "same", "other"}).Draw(r, "print"))
				c.Lease, c.TTL = modelLease, modelTTL
				claims = append(claims, c)
				want := m.begin(c)
				got, err := t.s.Begin(t.Context(), c)
				if err != nil || got.State != want.State || got.Owner != want.Owner || got.Outcome.Status != want.Outcome.Status {
					r.Fatalf("begin: %+v, %v, want %+v", got, err, want)
				}
			},
			"renew": func(r *rapid.T) {
				c, op := claim(r)
				lost := op == nil || op.token != c.Token || op.done
				if !lost {
					op.lease = m.now + modelLease
					op.expires = max(op.expires, op.lease)
				}
				expect(r, "renew", t.s.Renew(t.Context(), c.ID, c.Token, modelLease), lost)
			},
			"complete": func(r *rapid.T) {
				c, op := claim(r)
				status := rapid.IntRange(200, 599).Draw(r, "status")
				lost := op == nil || op.token != c.Token
				if !lost && !op.done {
					op.done, op.status, op.expires = true, status, m.now+modelTTL
				}
				expect(r, "complete", t.s.Complete(t.Context(), c.ID, c.Token, idempotency.Outcome{Status: status}, modelTTL), lost)
			},
			"abandon": func(r *rapid.T) {
				c, op := claim(r)
				lost := op != nil && (op.token != c.Token || op.done)
				if op != nil && !lost {
					delete(m.ops, c.ID)
				}
				expect(r, "abandon", t.s.Abandon(t.Context(), c.ID, c.Token), lost)
			},
			"advance": func(r *rapid.T) {
				d := rapid.SampledFrom([]time.Duration{
					modelLease / 2, modelLease + time.Millisecond, modelTTL/2 + time.Millisecond, modelTTL + time.Millisecond,
				}).Draw(r, "d")
				m.advance(d)
				t.h.Advance(t.T, d)
			},
		})
	}
	rapid.Check(timeless{t.T}, check)
}

func (m *model) advance(d time.Duration) {
	m.now += d
	for id, op := range m.ops {
		if op.expires <= m.now {
			delete(m.ops, id)
		}
	}
}

func (m *model) begin(c idempotency.Claim) idempotency.Entry {
	op := m.ops[c.ID]
	if op == nil {
		op = &operation{fingerprint: c.Fingerprint}
		m.ops[c.ID] = op
	}
	switch {
	case op.fingerprint != c.Fingerprint:
		return idempotency.Entry{State: idempotency.Mismatch}
	case op.done:
		return idempotency.Entry{State: idempotency.Done, Outcome: idempotency.Outcome{Status: op.status}}
	case op.owner > 0 && m.now < op.lease:
		return idempotency.Entry{State: idempotency.Running}
	}
	op.token = c.Token
	op.owner++
	op.lease, op.expires = m.now+c.Lease, m.now+c.TTL
	return idempotency.Entry{State: idempotency.First, Owner: op.owner}
}
