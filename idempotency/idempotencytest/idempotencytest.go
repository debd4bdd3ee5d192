package idempotencytest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/idempotency"
)

// Harness connects the contract to one kind of store.
type Harness struct {
	// Open returns an empty store with room for 100 operations at least. It
	// registers with t.Cleanup whatever ends it. Required.
	Open func(t *testing.T) idempotency.Store
	// Advance makes the store, and whoever else looks, believe that d has passed.
	// Required.
	Advance func(t *testing.T, d time.Duration)
	// Within runs a test, for instance inside a bubble of testing/synctest.
	// Default: it is called.
	Within func(t *testing.T, test func(*testing.T))
	// Corrupt spoils what the last opened store has for an ID. Nil if it has
	// nothing that could be spoiled.
	Corrupt func(t *testing.T, id idempotency.ID)
}

// Times that all tests use. They are long, so that a real clock that runs beside
// Advance makes no difference.
const (
	Lease = time.Minute
	TTL   = time.Hour
)

// Run runs the contract as subtests of t.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.Within == nil {
		h.Within = func(t *testing.T, test func(*testing.T)) { test(t) }
	}
	for _, c := range []struct {
		name string
		test func(*suite)
	}{
		{"the first claim holds, the next ones do not", (*suite).first},
		{"an outcome comes back as it was", (*suite).outcome},
		{"another fingerprint is a mismatch at any time", (*suite).mismatch},
		{"an abandoned operation begins anew", (*suite).abandon},
		{"a lapsed lease is taken over, and its owner has lost", (*suite).lapse},
		{"a renewed lease does not lapse", (*suite).renew},
		{"an owner who is late may complete if nobody took over", (*suite).late},
		{"what was asked twice happens once", (*suite).twice},
		{"operations are forgotten when their time is over", (*suite).forget},
		{"operations do not touch each other", (*suite).apart},
		{"an ended context is an error, and changes nothing", (*suite).cancelled},
		{"of many at once one is first", (*suite).crowd},
		{"a corrupt record is told as such", (*suite).corrupt},
		{"any sequence does what the model does", (*suite).model},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			if t.Run("run", func(t *testing.T) {
				h.Within(t, func(t *testing.T) {
					c.test(&suite{T: t, h: h, s: h.Open(t), id: Name(t, "one")})
				})
			}) {
				goleak.VerifyNone(t, before)
			}
		})
	}
}

// suite is one test with its store.
type suite struct {
	*testing.T

	h  Harness
	s  idempotency.Store
	id idempotency.ID
}

// Name returns an ID that no other test uses.
func Name(t *testing.T, name string) idempotency.ID { return idempotency.NewID(t.Name(), "", name) }

// Outcome returns one with all that an outcome can have.
func Outcome() idempotency.Outcome {
	return idempotency.Outcome{
		Status: 201,
		Header: map[string][]string{"Location": {"/orders/42"}, "Vary": {"Accept", "Accept-Language"}, "X-Empty": {""}},
		// Not text, and every byte a protocol could stumble over.
		Trailer: map[string][]string{"checksum-bin": {"\x00\xff\r\n"}},
		Body:    []byte("\x00order \xff\r\n 42"),
	}
}

func (t *suite) claim(id idempotency.ID, request string) idempotency.Claim {
	return idempotency.Claim{
		ID: id, Fingerprint: idempotency.NewHash(request).Sum(), Token: idempotency.NewToken(), Lease: Lease, TTL: TTL,
	}
}

// begin claims the test's operation.
func (t *suite) begin(want idempotency.State) (idempotency.Claim, idempotency.Entry) {
	t.Helper()
	c := t.claim(t.id, "same")
	return c, t.beginWith(c, want)
}

func (t *suite) beginWith(c idempotency.Claim, want idempotency.State) idempotency.Entry {
	t.Helper()
	e, err := t.s.Begin(t.Context(), c)
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	if e.State != want {
		t.Fatalf("begin: %v, want %v", e.State, want)
	}
	return e
}

func (t *suite) complete(c idempotency.Claim, o idempotency.Outcome, want error) {
	t.Helper()
	t.want("complete", t.s.Complete(t.Context(), c.ID, c.Token, o, TTL), want)
}

func (t *suite) want(verb string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", verb, got, want)
	}
}

func (t *suite) first() {
	_, e := t.begin(idempotency.First)
	if e.Owner != 1 {
		t.Errorf("the first owner is number %d", e.Owner)
	}
	t.begin(idempotency.Running)
	t.h.Advance(t.T, Lease/2)
	t.begin(idempotency.Running)
}

func (t *suite) outcome() {
	for _, want := range []idempotency.Outcome{
		Outcome(), {}, {Status: 204}, {Status: 201, Missing: idempotency.MissingBody}, {Missing: idempotency.MissingAll},
	} {
		c := t.claim(Name(t.T, fmt.Sprint(want.Status, want.Missing)), "same")
		t.beginWith(c, idempotency.First)
		t.complete(c, want, nil)
		for range 2 {
			e := t.beginWith(t.claim(c.ID, "same"), idempotency.Done)
			if diff := cmp.Diff(want, e.Outcome, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("kept (-) and told (+) differ:\n%s", diff)
			}
		}
	}
}

func (t *suite) mismatch() {
	c, _ := t.begin(idempotency.First)
	t.beginWith(t.claim(t.id, "other"), idempotency.Mismatch)
	t.h.Advance(t.T, Lease+time.Second)
	t.beginWith(t.claim(t.id, "other"), idempotency.Mismatch)
	t.complete(c, Outcome(), nil)
	t.beginWith(t.claim(t.id, "other"), idempotency.Mismatch)
	t.begin(idempotency.Done)
}

func (t *suite) abandon() {
	c, _ := t.begin(idempotency.First)
	t.want("abandon", t.s.Abandon(t.Context(), c.ID, c.Token), nil)
	t.complete(c, Outcome(), idempotency.ErrLost)
	t.want("renew", t.s.Renew(t.Context(), c.ID, c.Token, Lease), idempotency.ErrLost)
	// Another fingerprint, even: nothing is left.
	next := t.claim(t.id, "other")
	if e := t.beginWith(next, idempotency.First); e.Owner != 1 {
		t.Errorf("owner number %d of an operation that was abandoned", e.Owner)
	}
	t.want("abandon by the former owner", t.s.Abandon(t.Context(), c.ID, c.Token), idempotency.ErrLost)
	t.complete(next, Outcome(), nil)
	t.want("abandon what is done", t.s.Abandon(t.Context(), next.ID, next.Token), idempotency.ErrLost)
}

func (t *suite) lapse() {
	old, _ := t.begin(idempotency.First)
	t.h.Advance(t.T, Lease+time.Second)
	next, e := t.begin(idempotency.First)
	if e.Owner != 2 {
		t.Errorf("owner number %d, want 2", e.Owner)
	}
	t.want("renew by the old owner", t.s.Renew(t.Context(), old.ID, old.Token, Lease), idempotency.ErrLost)
	t.want("abandon by the old owner", t.s.Abandon(t.Context(), old.ID, old.Token), idempotency.ErrLost)
	t.complete(old, idempotency.Outcome{Status: 500}, idempotency.ErrLost)
	t.begin(idempotency.Running)
	t.complete(next, Outcome(), nil)
	t.complete(old, idempotency.Outcome{Status: 500}, idempotency.ErrLost)
	if _, e := t.begin(idempotency.Done); e.Outcome.Status != Outcome().Status {
		t.Errorf("status %d: the old owner has overwritten the outcome", e.Outcome.Status)
	}
}

func (t *suite) renew() {
	c, _ := t.begin(idempotency.First)
	for range 4 {
		t.h.Advance(t.T, Lease*3/4)
		t.want("renew", t.s.Renew(t.Context(), c.ID, c.Token, Lease), nil)
	}
	t.begin(idempotency.Running)
	t.complete(c, Outcome(), nil)
	t.want("renew what is done", t.s.Renew(t.Context(), c.ID, c.Token, Lease), idempotency.ErrLost)

	// A renewed operation is remembered although its first time is over.
	long := t.claim(Name(t.T, "long"), "same")
	long.TTL = Lease
	t.beginWith(long, idempotency.First)
	t.h.Advance(t.T, Lease*3/4)
	t.want("renew", t.s.Renew(t.Context(), long.ID, long.Token, Lease), nil)
	t.h.Advance(t.T, Lease*3/4)
	t.beginWith(t.claim(long.ID, "same"), idempotency.Running)
}

func (t *suite) late() {
	c, _ := t.begin(idempotency.First)
	t.h.Advance(t.T, Lease+time.Second)
	t.want("renew", t.s.Renew(t.Context(), c.ID, c.Token, Lease), nil)
	t.begin(idempotency.Running)
	t.h.Advance(t.T, Lease+time.Second)
	t.complete(c, Outcome(), nil)
	t.begin(idempotency.Done)
}

func (t *suite) twice() {
	c, _ := t.begin(idempotency.First)
	if e := t.beginWith(c, idempotency.First); e.Owner != 1 {
		t.Errorf("begun twice with the same token: owner number %d", e.Owner)
	}
	t.complete(c, Outcome(), nil)
	t.complete(c, idempotency.Outcome{Status: 500}, nil)
	if _, e := t.begin(idempotency.Done); e.Outcome.Status != Outcome().Status {
		t.Errorf("status %d after completing twice: the second counts", e.Outcome.Status)
	}

	gone := t.claim(Name(t.T, "gone"), "same")
	t.beginWith(gone, idempotency.First)
	for range 2 {
		t.want("abandon", t.s.Abandon(t.Context(), gone.ID, gone.Token), nil)
	}
}

func (t *suite) forget() {
	c, _ := t.begin(idempotency.First)
	t.h.Advance(t.T, TTL/2)
	t.complete(c, Outcome(), nil)
	t.h.Advance(t.T, TTL-time.Minute) // longer than from the beginning
	t.begin(idempotency.Done)
	t.h.Advance(t.T, 2*time.Minute)
	if _, e := t.begin(idempotency.First); e.Owner != 1 {
		t.Errorf("owner number %d of a forgotten operation", e.Owner)
	}
	// Nor is one remembered that nobody ends.
	t.h.Advance(t.T, TTL+time.Second)
	if e := t.beginWith(t.claim(t.id, "other"), idempotency.First); e.Owner != 1 {
		t.Errorf("owner number %d of a forgotten operation", e.Owner)
	}
	t.complete(c, Outcome(), idempotency.ErrLost)
}

func (t *suite) apart() {
	a := t.claim(Name(t.T, "a"), "same")
	b := t.claim(Name(t.T, "b"), "same")
	t.beginWith(a, idempotency.First)
	t.beginWith(b, idempotency.First)
	t.want("complete with another's token", t.s.Complete(t.Context(), a.ID, b.Token, Outcome(), TTL), idempotency.ErrLost)
	t.complete(a, Outcome(), nil)
	t.want("abandon", t.s.Abandon(t.Context(), b.ID, b.Token), nil)
	t.beginWith(t.claim(a.ID, "same"), idempotency.Done)
	t.beginWith(t.claim(b.ID, "same"), idempotency.First)
}

func (t *suite) cancelled() {
	c, _ := t.begin(idempotency.First)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	other := t.claim(Name(t.T, "other"), "same")
	_, err := t.s.Begin(ctx, other)
	t.want("begin", err, context.Canceled)
	t.want("renew", t.s.Renew(ctx, c.ID, c.Token, Lease), context.Canceled)
	t.want("complete", t.s.Complete(ctx, c.ID, c.Token, Outcome(), TTL), context.Canceled)
	t.want("abandon", t.s.Abandon(ctx, c.ID, c.Token), context.Canceled)
	t.begin(idempotency.Running)
	t.beginWith(t.claim(other.ID, "same"), idempotency.First)
}

func (t *suite) crowd() {
	const operations, claimants = 8, 8
	var firsts, dones atomic.Int32
	var crowd sync.WaitGroup
	for op := range operations {
		id := Name(t.T, strconv.Itoa(op))
		for range claimants {
			crowd.Go(func() {
				c := t.claim(id, "same")
				e, err := t.s.Begin(t.Context(), c)
				if err != nil {
					t.Errorf("begin: %v", err)
				}
				if e.State == idempotency.First {
					firsts.Add(1)
					t.complete(c, Outcome(), nil)
				}
				if e.State == idempotency.Done {
					dones.Add(1)
				}
			})
		}
	}
	crowd.Wait()
	if n := firsts.Load(); n != operations {
		t.Errorf("%d claims were first, want one for each of %d operations", n, operations)
	}
	t.Logf("%d of %d claims came late enough for the outcome", dones.Load(), operations*claimants)
}

func (t *suite) corrupt() {
	if t.h.Corrupt == nil {
		t.Skip("this store has no records")
	}
	c, _ := t.begin(idempotency.First)
	t.complete(c, Outcome(), nil)
	t.h.Corrupt(t.T, c.ID)
	if e, err := t.s.Begin(t.Context(), t.claim(t.id, "same")); !errors.Is(err, idempotency.ErrCorrupt) {
		t.Errorf("begin: %+v, %v, want ErrCorrupt", e, err)
	}
	t.beginWith(t.claim(Name(t.T, "sound"), "same"), idempotency.First)
}
