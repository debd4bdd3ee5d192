package deadlettertest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/innermesh/innermesh/deadletter"
)

func claimOrder(t *testing.T, s deadletter.Sink) {
	a, b, c, d := Letter(1), Letter(2), Letter(3), Letter(4)
	now := time.Unix(1_900_000_000, 0)
	a.NotBefore, b.NotBefore, d.NotBefore = now.Add(-time.Second), now.Add(-time.Hour), now.Add(1)
	put(t, s, a, b, c, d)
	got := claim(t, s, deadletter.Claim{Now: now, Limit: 2})
	equal(t, "the longest due", idsOf(got), c, b)
	got = claim(t, s, deadletter.Claim{Now: now, Limit: 10})
	equal(t, "the others that are due", idsOf(got), a)
	equal(t, "one that is due by now", idsOf(claim(t, s, deadletter.Claim{Now: now.Add(1)})), d)
}

func claimFilters(t *testing.T, s deadletter.Sink) {
	a, b, c, d := Letter(1), Letter(2), Letter(3), Letter(4)
	a.State, b.State, c.Service, d.Expires = deadletter.Queued, deadletter.Parked, "stock", d.Created.Add(time.Second)
	put(t, s, a, b, c, d)
	now := d.Expires
	all := deadletter.Claim{Now: now, Limit: 10}
	all.Except = []string{"stock"}
	equal(t, "but for a service", idsOf(claim(t, s, all)))
	all.Except = nil
	equal(t, "waiting, not expired", idsOf(claim(t, s, all)), c)
	all.Filter.States = []deadletter.State{deadletter.Queued, deadletter.Parked}
	all.Filter.Services = []string{"stock"}
	equal(t, "of a service", idsOf(claim(t, s, all)))
	all.Filter.Services = nil
	equal(t, "of two states", idsOf(claim(t, s, all)), a, b)
}

func leases(t *testing.T, s deadletter.Sink) {
	put(t, s, Letter(1))
	now := time.Unix(1_900_000_000, 0)
	first := claim(t, s, deadletter.Claim{Owner: "first", Lease: time.Minute, Now: now})[0]
	if first.Owner != "first" || !first.LeasedUntil.Equal(now.Add(time.Minute)) {
		t.Errorf("leased to %q until %v", first.Owner, first.LeasedUntil)
	}
	if got := get(t, s, first.ID); got.Owner != "first" || !got.Leased(now) || got.Leased(now.Add(time.Minute)) {
		t.Errorf("the lease does not show: %q until %v", got.Owner, got.LeasedUntil)
	}
	equal(t, "leased", idsOf(claim(t, s, deadletter.Claim{Now: now.Add(time.Minute - 1)})))
	second := claim(t, s, deadletter.Claim{Owner: "second", Lease: time.Minute, Now: now.Add(time.Minute)})
	equal(t, "the lease is over", idsOf(second), first)
	_, err := s.Update(t.Context(), first)
	wants(t, "update by who was too slow", err, deadletter.ErrStale)
	wants(t, "remove by who was too slow", s.Remove(t.Context(), first), deadletter.ErrStale)
	free := second[0]
	free.Owner, free.LeasedUntil, free.Deliveries = "", time.Time{}, 7
	if free, err = s.Update(t.Context(), free); err != nil {
		t.Fatal(err)
	}
	third := claim(t, s, deadletter.Claim{Now: now.Add(time.Minute)})
	equal(t, "given back", idsOf(third), first)
	if len(third) == 1 && third[0].Deliveries != 7 {
		t.Errorf("what was written is not there: %d", third[0].Deliveries)
	}
	wants(t, "remove by who has given it back", s.Remove(t.Context(), free), deadletter.ErrStale)
	if err := s.Remove(t.Context(), third[0]); err != nil {
		t.Errorf("remove by the claimant: %v", err)
	}
	equal(t, "delivered", ids(t, s, deadletter.Filter{}))
}

// oneClaimant: whatever happens at the same time, a letter has one claimant.
func oneClaimant(t *testing.T, s deadletter.Sink) {
	const letters, claimants = 40, 8
	for n := range letters {
		put(t, s, Letter(n))
	}
	var mu sync.Mutex
	owners := map[string][]string{}
	var wg sync.WaitGroup
	for n := range claimants {
		wg.Go(func() {
			owner := fmt.Sprintf("claimant-%d", n)
			for {
				got, err := s.Claim(t.Context(), deadletter.Claim{Owner: owner, Lease: time.Hour, Limit: 3})
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				if len(got) == 0 {
					return
				}
				mu.Lock()
				for _, l := range got {
					owners[l.ID] = append(owners[l.ID], owner)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id, who := range owners {
		if len(who) != 1 {
			t.Errorf("%s was given to %v", id, who)
		}
	}
	if len(owners) != letters {
		t.Errorf("%d of %d letters were given out", len(owners), letters)
	}
}

func staleCopies(t *testing.T, s deadletter.Sink) {
	put(t, s, Letter(1))
	a, b := get(t, s, Letter(1).ID), get(t, s, Letter(1).ID)
	a.Error = "a"
	a, err := s.Update(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	b.Error = "b"
	_, err = s.Update(t.Context(), b)
	wants(t, "update of an old copy", err, deadletter.ErrStale)
	wants(t, "remove of an old copy", s.Remove(t.Context(), b), deadletter.ErrStale)
	a.Error = "again"
	if a, err = s.Update(t.Context(), a); err != nil {
		t.Fatalf("update of what Update has returned: %v", err)
	}
	same(t, get(t, s, a.ID), a)
	if err := s.Remove(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	_, err = s.Update(t.Context(), a)
	wants(t, "update of what is gone", err, deadletter.ErrNotFound)
	put(t, s, Letter(1))
	wants(t, "remove of a letter by the copy of one that had its ID", s.Remove(t.Context(), a), deadletter.ErrStale)
}

// together: many writers at a time, of which some want the same.
func together(t *testing.T, s deadletter.Sink) {
	const letters, writers = 30, 4
	var kept sync.Map
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for n := range letters {
				switch err := s.Put(t.Context(), Letter(n)); {
				case err == nil:
					if _, twice := kept.LoadOrStore(n, true); twice {
						t.Errorf("letter %d was new twice", n)
					}
				case !errors.Is(err, deadletter.ErrExists):
					t.Errorf("put: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := len(ids(t, s, deadletter.Filter{})); got != letters {
		t.Errorf("there are %d letters, want %d", got, letters)
	}
	l := get(t, s, Letter(0).ID)
	won := make(chan error, writers)
	for range writers {
		go func() {
			_, err := s.Update(t.Context(), l)
			won <- err
		}()
	}
	winners := 0
	for range writers {
		if err := <-won; err == nil {
			winners++
		} else if !errors.Is(err, deadletter.ErrStale) {
			t.Errorf("update: %v", err)
		}
	}
	if winners != 1 {
		t.Errorf("%d of %d updates of one copy have won, want 1", winners, writers)
	}
}
