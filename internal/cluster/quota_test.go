package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/policy"
)

func quotaOf(most policy.Limit) *Quota {
	q := new(Quota)
	q.bound("web", policy.Limits{Connections: most, Pending: policy.NoLimit})
	return q
}

// idlers are connections that carry nothing, and may be asked for.
type idlers struct {
	quota *Quota
	n     atomic.Int64
	open  *atomic.Int64
}

func (i *idlers) reclaim() bool {
	for n := i.n.Load(); n > 0; n = i.n.Load() {
		if i.n.CompareAndSwap(n, n-1) {
			i.open.Add(-1)
			i.quota.Leave()
			return true
		}
	}
	return false
}

// Whoever comes, goes, gives up, keeps a connection at rest or asks for it: there
// are never more than are allowed, and in the end none is left.
func TestQuotaIsNeitherOverdrawnNorLeaked(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			most := int64(1 + seed%5)
			q := quotaOf(policy.Limit(most))
			var open, entered, gaveUp atomic.Int64
			var all sync.WaitGroup
			for caller := range uint64(12) {
				r := rand.New(rand.NewPCG(seed, caller))
				rest := &idlers{quota: q, open: &open}
				stop := q.Lend(rest.reclaim, none)
				all.Go(func() {
					defer stop()
					for range 60 {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(30))*time.Millisecond)
						err := q.Enter(ctx, nil)
						cancel()
						if err != nil {
							if !errors.Is(err, limit.ErrFull) || !errors.Is(err, context.DeadlineExceeded) {
								t.Errorf("seed %d: refused with %v", seed, err)
							}
							gaveUp.Add(1)
							continue
						}
						entered.Add(1)
						if n := open.Add(1); n > most {
							t.Errorf("seed %d: %d connections, %d are allowed", seed, n, most)
						}
						time.Sleep(time.Duration(r.IntN(8)) * time.Millisecond) // of the test's own time
						if r.IntN(3) == 0 && !q.Wanted() {
							rest.n.Add(1)
							continue
						}
						open.Add(-1)
						q.Leave()
					}
					for rest.reclaim() {
					}
				})
			}
			all.Wait()
			if q.Open() != 0 || open.Load() != 0 || q.Wanted() || q.queue.Len() != 0 || len(q.lenders) != 0 {
				t.Errorf("seed %d: %d open, %d wait, %d lend at the end", seed, q.Open(), q.queue.Len(), len(q.lenders))
			}
			if entered.Load() == 0 || most < 3 && gaveUp.Load() == 0 {
				t.Errorf("seed %d: %d entered, %d gave up: nothing was tested", seed, entered.Load(), gaveUp.Load())
			}
		})
	}
}

// A place goes to who has waited longest, and what rests is asked for first.
func TestQuotaServesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := quotaOf(1)
		if err := q.Enter(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		turns := make(chan int, 3)
		var waits atomic.Int64
		for i := range 3 {
			go func() {
				if err := q.Enter(t.Context(), func() { waits.Add(1) }); err == nil {
					turns <- i
				}
			}()
			synctest.Wait()
		}
		if n := waits.Load(); n != 3 || !q.Wanted() {
			t.Errorf("%d of 3 were told that they wait", n)
		}
		for want := range 3 {
			q.Leave()
			if got := <-turns; got != want {
				t.Errorf("caller %d was let in, want %d", got, want)
			}
		}
		asked := 0
		defer q.Lend(func() bool { asked++; q.Leave(); return true }, none)()
		if err := q.Enter(t.Context(), func() { t.Error("nobody need wait: one was at rest") }); err != nil || asked != 1 {
			t.Errorf("got %v, asked %d times", err, asked)
		}
	})
}

// Another limit is in force at once: who waits is let in, what is too much ends by
// itself. None are none.
func TestQuotaFollowsItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := quotaOf(1)
		in := make(chan error, 5)
		for range 5 {
			go func() { in <- q.Enter(t.Context(), nil) }()
		}
		synctest.Wait()
		for _, most := range []int{1, 3, 2} {
			q.bound("web", policy.Limits{Connections: policy.Limit(most)})
			most = max(most, len(in)) // those that there are stay
			if n := q.Open(); n != most {
				t.Errorf("%d open, want %d", n, most)
			}
			synctest.Wait()
		}
		q.bound("web", policy.Limits{Connections: policy.NoLimit})
		for range 5 {
			if err := <-in; err != nil {
				t.Error(err)
			}
		}
		q.bound("web", policy.Limits{Connections: policy.None})
		full, ok := errors.AsType[*limit.FullError](q.Enter(t.Context(), nil))
		if !ok || full.Name != "web connections" || full.Limit != 0 || q.Open() != 5 {
			t.Errorf("got %+v, %d open", full, q.Open())
		}
	})
}

// As many calls are held back as may wait.
func TestQuotaPending(t *testing.T) {
	q := quotaOf(1)
	q.bound("web", policy.Limits{Connections: 1, Pending: 2})
	for i := range 4 {
		if err := q.Queue(); (err == nil) != (i < 2) || err != nil && !errors.Is(err, limit.ErrFull) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	q.Dequeue()
	if err := q.Queue(); err != nil {
		t.Errorf("after one has gone: %v", err)
	}
}

// none is the number of idle connections of who lends none.
func none() int { return 0 }
