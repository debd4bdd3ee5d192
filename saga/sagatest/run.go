package sagatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/saga"
)

// Harness connects the contract to one kind of log.
type Harness struct {
	// Open returns an empty log. It registers with t.Cleanup whatever ends it.
	// Required.
	Open func(t *testing.T) saga.Log
	// Advance makes the log believe that d has passed. Required.
	Advance func(t *testing.T, d time.Duration)
	// Within runs a test, for instance inside a bubble of testing/synctest.
	// Default: it is called.
	Within func(t *testing.T, test func(*testing.T))
}

// Lease is what all tests use. It is long, so that a real clock that runs beside
// Advance makes no difference.
const Lease = time.Minute

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
		{"what is kept comes back as it was", (*suite).whole},
		{"an ID is taken once", (*suite).once},
		{"what is not a record is refused", (*suite).invalid},
		{"a claim gives what it asks for", (*suite).claims},
		{"one saga is claimed whenever it is due", (*suite).byID},
		{"a lease keeps others away until it is over", (*suite).lease},
		{"who is fenced off changes nothing", (*suite).fence},
		{"pages have everything, in order", (*suite).pages},
		{"a query shows what it asks for", (*suite).query},
		{"what has ended is forgotten, and nothing else", (*suite).expire},
		{"of many at once one owns a saga", (*suite).crowd},
		{"an ended context is an error", (*suite).cancelled},
		{"any sequence does what the model does", (*suite).model},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			if t.Run("run", func(t *testing.T) {
				h.Within(t, func(t *testing.T) { c.test(&suite{T: t, h: h, log: h.Open(t)}) })
			}) {
				goleak.VerifyNone(t, before)
			}
		})
	}
}

// suite is one test with its log.
type suite struct {
	*testing.T

	h   Harness
	log saga.Log
}

// Record returns a saga that is running and due, with something in every field.
func Record(id string) saga.Record {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return saga.Record{
		ID: id, Type: saga.Type{Name: "order", Version: 1, Fingerprint: "f"}, Input: "digest", Key: "key of " + id,
		Trace:  map[string]string{"traceparent": "00-1-2-01"},
		Status: saga.Running, State: []byte(`{"item":"lamp"}`), Error: "it has not ended", Created: now, Updated: now,
		Deadline: now.Add(time.Hour), NotBefore: now.Add(-time.Second), Token: 1,
		Steps: []saga.StepRecord{
			{Name: "reserve", Status: saga.Done, Attempts: 2, Effect: true, Changed: []string{"item"}, Began: now, Ended: now},
			{Name: "charge", Status: saga.Begun, Attempts: 1, Error: "no answer", Next: now, Own: []byte(`{"a":1}`)},
		},
	}
}

func (t *suite) create(r saga.Record, lease time.Duration) saga.Record {
	t.Helper()
	if lease > 0 {
		r.Owner = "creator"
	}
	t.must(t.log.Create(t.Context(), r, lease))
	return r
}

func (t *suite) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t *suite) be(what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
}

func (t *suite) get(id string) saga.Record {
	t.Helper()
	p, err := t.log.List(t.Context(), saga.Query{IDs: []string{id}})
	t.must(err)
	if len(p.Sagas) != 1 {
		t.Fatalf("there are %d sagas %s", len(p.Sagas), id)
	}
	return p.Sagas[0]
}

func (t *suite) claim(c saga.Claim) []saga.Record {
	t.Helper()
	c.Owner, c.Lease = "claimant", Lease
	got, err := t.log.Claim(t.Context(), c)
	t.must(err)
	return got
}

func (t *suite) claimed(what string, c saga.Claim, want ...string) []saga.Record {
	t.Helper()
	got := t.claim(c)
	if diff := cmp.Diff(want, ids(got), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
	return got
}

func ids(all []saga.Record) (ids []string) {
	for i := range all {
		ids = append(ids, all[i].ID)
	}
	return ids
}

// same compares records but for what the engine sets.
func (t *suite) same(what string, got, want saga.Record) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(saga.Record{}, "Owner", "LeasedUntil", "Token"), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func (t *suite) whole() {
	want := t.create(Record("one"), 0)
	t.same("list", t.get("one"), want)
	got := t.claimed("claim", saga.Claim{}, "one")[0]
	t.same("claim", got, want)
	if got.Token != 2 || got.Owner != "claimant" || !got.LeasedUntil.After(want.Created) {
		t.Errorf("claimed with token %d by %q until %v", got.Token, got.Owner, got.LeasedUntil)
	}
	got.State, got.Status, got.Back, got.Note, got.Stuck = []byte(`{"item":"chair"}`), saga.Stuck, true, "note", 1
	for range 2 { // who saves twice has saved once
		t.must(t.log.Save(t.Context(), got, 0))
	}
	r := t.get("one")
	t.same("saved", r, got)
	if r.Owner != "" || !r.LeasedUntil.IsZero() || r.Token != 2 {
		t.Errorf("set free, and still %q has it until %v with token %d", r.Owner, r.LeasedUntil, r.Token)
	}
	got.State[2] = 'X' // the log has a copy of its own
	t.same("saved", t.get("one"), r)
}

func (t *suite) once() {
	want := t.create(Record("one"), 0)
	other := Record("one")
	other.Key = "another"
	t.be("create again", t.log.Create(t.Context(), other, Lease), saga.ErrExists)
	t.same("after that", t.get("one"), want)
	t.be("save what is not there", t.log.Save(t.Context(), Record("two"), 0), saga.ErrNotFound)
	two := t.create(Record("two"), 0)
	t.same("another", t.get("two"), two)
}

func (t *suite) invalid() {
	r := Record("one")
	r.State = []byte("{")
	if err := t.log.Create(t.Context(), r, 0); err == nil {
		t.Error("created a saga whose state is not JSON")
	}
	r = t.create(Record("two"), 0)
	r.Status = "odd"
	if err := t.log.Save(t.Context(), r, 0); err == nil {
		t.Error("saved a saga whose status is none")
	}
	if _, err := t.log.Claim(t.Context(), saga.Claim{}); err == nil {
		t.Error("claimed by nobody for no time")
	}
	if _, err := t.log.Claim(t.Context(), saga.Claim{Owner: "x", Lease: Lease, Statuses: []saga.Status{saga.Completed}}); err == nil {
		t.Error("claimed what has ended")
	}
}

func (t *suite) claims() {
	with := func(id string, change func(*saga.Record)) {
		r := Record(id)
		change(&r)
		t.create(r, 0)
	}
	now := time.Now()
	with("b", func(r *saga.Record) { r.NotBefore = now.Add(-2 * time.Hour) })
	with("a", func(r *saga.Record) { r.NotBefore = now.Add(-time.Hour) })
	with("back", func(r *saga.Record) { r.Status, r.NotBefore = saga.Compensating, now.Add(-3*time.Hour) })
	with("stuck", func(r *saga.Record) { r.Status = saga.Stuck })
	with("done", func(r *saga.Record) { r.Status, r.Ended = saga.Completed, now })
	with("version", func(r *saga.Record) { r.Version = 2 })
	with("print", func(r *saga.Record) { r.Fingerprint = "g" })
	with("later", func(r *saga.Record) { r.NotBefore = now.Add(10 * time.Minute) })
	mine := []saga.Type{{Name: "order", Version: 1, Fingerprint: "f"}, {Name: "other", Version: 2, Fingerprint: "f"}}
	t.claimed("the longest due first", saga.Claim{Types: mine, Limit: 2}, "back", "b")
	t.claimed("the rest", saga.Claim{Types: mine, Limit: 10}, "a")
	t.claimed("those of another version", saga.Claim{Types: []saga.Type{{Name: "order", Version: 2, Fingerprint: "f"}}, Limit: 10}, "version")
	t.claimed("of any type", saga.Claim{Limit: 10}, "print")
	t.claimed("stuck ones", saga.Claim{Limit: 10, Statuses: []saga.Status{saga.Stuck}}, "stuck")
	t.h.Advance(t.T, 11*time.Minute)
	t.claimed("one when it is due", saga.Claim{Types: mine, Limit: 1, Statuses: []saga.Status{saga.Running}}, "b")
	t.claimed("the others", saga.Claim{Types: mine, Limit: 10, Statuses: []saga.Status{saga.Running}}, "a", "later")
}

func (t *suite) byID() {
	r := Record("one")
	r.NotBefore = time.Now().Add(time.Hour)
	t.create(r, 0)
	t.create(Record("two"), 0)
	t.claimed("one that is not due", saga.Claim{ID: "one"}, "one")
	t.claimed("one that is leased", saga.Claim{ID: "one"})
	t.claimed("one that is not stuck", saga.Claim{ID: "two", Statuses: []saga.Status{saga.Stuck}})
}

func (t *suite) lease() {
	r := t.create(Record("one"), Lease)
	if have := t.get("one"); have.Owner != "creator" || have.Token != 1 || !have.Leased(time.Now()) {
		t.Errorf("created with the token %d, leased to %q until %v", have.Token, have.Owner, have.LeasedUntil)
	}
	t.claimed("what its creator has", saga.Claim{})
	t.h.Advance(t.T, Lease/2)
	t.must(t.log.Save(t.Context(), r, Lease))
	t.h.Advance(t.T, Lease*3/4)
	t.claimed("after a renewal", saga.Claim{})
	t.h.Advance(t.T, Lease/2)
	if got := t.claimed("after the lease", saga.Claim{}, "one")[0]; got.Token != 2 {
		t.Errorf("the second owner's token is %d", got.Token)
	}
	t.h.Advance(t.T, 2*Lease)
	if got := t.claimed("after another lease", saga.Claim{}, "one")[0]; got.Token != 3 {
		t.Errorf("the third owner's token is %d", got.Token)
	}
}

func (t *suite) fence() {
	first := t.create(Record("one"), Lease)
	t.h.Advance(t.T, 2*Lease)
	t.must(t.log.Save(t.Context(), first, Lease)) // late, but nobody has taken over
	t.claimed("renewed", saga.Claim{})
	t.h.Advance(t.T, 2*Lease)
	second := t.claimed("after the lease", saga.Claim{}, "one")[0]
	first.State = []byte(`{"item":"of the first"}`)
	for _, lease := range []time.Duration{0, Lease} {
		t.be("the first owner saves", t.log.Save(t.Context(), first, lease), saga.ErrFenced)
	}
	t.same("after that", t.get("one"), second)
	t.must(t.log.Save(t.Context(), second, 0))
	t.be("the first owner saves what is free", t.log.Save(t.Context(), first, 0), saga.ErrFenced)
	t.claimed("set free", saga.Claim{}, "one")
}

func (t *suite) pages() {
	want := []string{"B", "_", "a", "a/1", "b", "z"} // in bytewise order
	for i, id := range slices.Backward(want) {
		r := Record(id)
		if i%2 == 0 { // engines may keep them elsewhere
			r.Status, r.Ended = saga.Completed, time.Now().UTC()
		}
		t.create(r, 0)
	}
	var got []string
	q := saga.Query{Limit: 2}
	for range want {
		p, err := t.log.List(t.Context(), q)
		t.must(err)
		if len(p.Sagas) > 2 {
			t.Errorf("a page of %d", len(p.Sagas))
		}
		got = append(got, ids(p.Sagas)...)
		if q.After = p.Next; q.After == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

func (t *suite) query() {
	for i, s := range []saga.Status{saga.Running, saga.Compensating, saga.Stuck, saga.Completed, saga.Compensated} {
		for _, name := range []string{"order", "trip"} {
			r := Record(fmt.Sprintf("%s-%d", name, i))
			r.Name, r.Status = name, s
			if s.Ended() {
				r.Ended = time.Now().UTC()
			}
			t.create(r, 0)
		}
	}
	for _, c := range []struct {
		q    saga.Query
		want []string
	}{
		{saga.Query{IDs: []string{"trip-3", "order-0", "none"}}, []string{"order-0", "trip-3"}},
		{saga.Query{Names: []string{"trip"}, After: "trip-2"}, []string{"trip-3", "trip-4"}},
		{saga.Query{Statuses: []saga.Status{saga.Stuck, saga.Completed}}, []string{"order-2", "order-3", "trip-2", "trip-3"}},
		{
			saga.Query{Statuses: []saga.Status{saga.Running}, Except: []saga.Type{{Name: "order", Version: 1, Fingerprint: "f"}, {Name: "trip"}}},
			[]string{"trip-0"},
		},
	} {
		p, err := t.log.List(t.Context(), c.q)
		t.must(err)
		if diff := cmp.Diff(c.want, ids(p.Sagas)); diff != "" || p.Next != "" {
			t.Errorf("%+v: next %q (-want +got):\n%s", c.q, p.Next, diff)
		}
	}
}

func (t *suite) expire() {
	now := time.Now().UTC()
	for i := range 5 {
		r := Record(fmt.Sprint("done-", i))
		r.Status, r.Ended = saga.Compensated, now.Add(-time.Duration(i)*time.Hour)
		t.create(r, 0)
	}
	running := t.create(Record("running"), Lease) // which ends a little later
	n, err := t.log.Expire(t.Context(), now.Add(-90*time.Minute), 2)
	t.must(err)
	more, err := t.log.Expire(t.Context(), now.Add(-90*time.Minute), 100)
	t.must(err)
	if n != 2 || more != 1 {
		t.Errorf("forgot %d, then %d, want 2 and 1", n, more)
	}
	running.Status, running.Ended = saga.Completed, now.Add(-3*time.Hour)
	t.must(t.log.Save(t.Context(), running, 0))
	if n, err := t.log.Expire(t.Context(), now.Add(-90*time.Minute), 100); err != nil || n != 1 {
		t.Errorf("forgot %d, %v, want what has just ended", n, err)
	}
	p, err := t.log.List(t.Context(), saga.Query{})
	t.must(err)
	if diff := cmp.Diff([]string{"done-0", "done-1"}, ids(p.Sagas)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	t.be("save what is forgotten", t.log.Save(t.Context(), running, 0), saga.ErrNotFound)
	t.create(Record("running"), 0) // the ID is free again
}

func (t *suite) crowd() {
	const sagas, claimants = 20, 8
	for i := range sagas {
		t.create(Record(strconv.Itoa(i)), 0)
	}
	var mu sync.Mutex
	owners := map[string]int{}
	var created atomic.Int32
	var wg sync.WaitGroup
	for i := range claimants {
		wg.Go(func() {
			if err := t.log.Create(t.Context(), Record("new"), Lease); err == nil {
				created.Add(1)
			} else if !errors.Is(err, saga.ErrExists) {
				t.Error(err)
			}
			for range sagas {
				got, err := t.log.Claim(t.Context(), saga.Claim{Owner: strconv.Itoa(i), Lease: Lease, Limit: 3})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, r := range got {
					owners[r.ID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(owners) != sagas || created.Load() != 1 {
		t.Errorf("%d of %d sagas were claimed, one ID was created %d times", len(owners), sagas, created.Load())
	}
	for id, n := range owners {
		if n != 1 {
			t.Errorf("saga %s was given to %d", id, n)
		}
	}
}

func (t *suite) cancelled() {
	r := t.create(Record("one"), Lease)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, listed := t.log.List(ctx, saga.Query{})
	_, claimed := t.log.Claim(ctx, saga.Claim{Owner: "x", Lease: Lease})
	_, expired := t.log.Expire(ctx, time.Now(), 1)
	for verb, err := range map[string]error{
		"create": t.log.Create(ctx, Record("two"), 0), "save": t.log.Save(ctx, r, 0), "list": listed, "claim": claimed, "expire": expired,
	} {
		t.be(verb, err, context.Canceled)
	}
}
