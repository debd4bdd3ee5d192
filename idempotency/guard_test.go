package idempotency_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/idempotency"
)

// moody is a store that fails when it is told to.
type moody struct {
	idempotency.Store

	mood  func(ctx context.Context, verb string) error
	asked atomic.Int32
}

func (m *moody) ask(ctx context.Context, verb string) error {
	m.asked.Add(1)
	if m.mood == nil {
		return nil
	}
	return m.mood(ctx, verb)
}

func (m *moody) Begin(ctx context.Context, c idempotency.Claim) (idempotency.Entry, error) {
	if err := m.ask(ctx, "begin"); err != nil {
		return idempotency.Entry{}, err
	}
	return m.Store.Begin(ctx, c)
}

func (m *moody) Renew(ctx context.Context, id idempotency.ID, tok idempotency.Token, lease time.Duration) error {
	if err := m.ask(ctx, "renew"); err != nil {
		return err
	}
	return m.Store.Renew(ctx, id, tok, lease)
}

func (m *moody) Complete(ctx context.Context, id idempotency.ID, tok idempotency.Token, o idempotency.Outcome, ttl time.Duration) error {
	if err := m.ask(ctx, "complete"); err != nil {
		return err
	}
	return m.Store.Complete(ctx, id, tok, o, ttl)
}

func (m *moody) Abandon(ctx context.Context, id idempotency.ID, tok idempotency.Token) error {
	if err := m.ask(ctx, "abandon"); err != nil {
		return err
	}
	return m.Store.Abandon(ctx, id, tok)
}

func guard(t testing.TB, o idempotency.Options) *idempotency.Guard {
	t.Helper()
	if o.Store == nil {
		o.Store = memory(t, idempotency.MemoryOptions{})
	}
	g, err := idempotency.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

var request = idempotency.Request{Protocol: call.HTTP, Route: "r", Key: "k"}

func enter(t *testing.T, g *idempotency.Guard) *idempotency.Turn {
	t.Helper()
	turn, err := g.Enter(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	return turn
}

func TestOptionsNameAllFaults(t *testing.T) {
	_, err := idempotency.New(idempotency.Options{
		TTL: -1, Lease: time.Millisecond, RetryAfter: -1, StoreTimeout: -1, MaxRequest: -1, MaxResponse: -1, Lapsed: 7,
		HTTP: idempotency.HTTPOptions{Methods: []string{""}},
	})
	for _, field := range []string{"Store", "TTL", "Lease", "RetryAfter", "StoreTimeout", "MaxRequest", "MaxResponse", "Lapsed", "HTTP.Methods"} {
		if err == nil || !strings.Contains(err.Error(), field+" is ") {
			t.Errorf("no word about %s in: %v", field, err)
		}
	}
	_, err = idempotency.New(idempotency.Options{Store: memory(t, idempotency.MemoryOptions{}), TTL: time.Second})
	if err == nil || !strings.Contains(err.Error(), "TTL is 1s: must not be shorter than Lease, 30s") {
		t.Errorf("got %v", err)
	}
}

func TestLeaseIsRenewedWhileTheOperationRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, idempotency.Options{Lease: 3 * time.Second, Wait: -1})
		turn := enter(t, g)
		for range 20 {
			time.Sleep(time.Second)
			if _, err := g.Enter(t.Context(), request); !errors.Is(err, idempotency.ErrRunning) {
				t.Fatalf("got %v, want ErrRunning", err)
			}
		}
		if err := turn.Complete(idempotency.Outcome{Status: 201}); err != nil {
			t.Fatal(err)
		}
		if o := enter(t, g).Replay(); o == nil || o.Status != 201 {
			t.Errorf("replayed %+v", o)
		}
	})
}

func TestLeaseEndsWithItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &moody{Store: memory(t, idempotency.MemoryOptions{})}
		g := guard(t, idempotency.Options{Store: store, Lease: 3 * time.Second})
		for _, end := range []func(*idempotency.Turn){
			(*idempotency.Turn).Abandon,
			func(turn *idempotency.Turn) { _ = turn.Complete(idempotency.Outcome{}) },
		} {
			turn := enter(t, g)
			end(turn)
			turn.Abandon() // has no effect any more
			if turn.Context().Err() == nil {
				t.Error("the operation's context outlives its turn")
			}
			before := store.asked.Load()
			time.Sleep(time.Minute)
			if n := store.asked.Load() - before; n != 0 {
				t.Errorf("the store was asked %d times after the end", n)
			}
		}
	})
}

// An owner whose renewals fail for a while keeps the operation as long as
// nobody else wants it.
func TestRenewalsGoOnAfterTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		store := &moody{Store: memory(t, idempotency.MemoryOptions{}), mood: func(_ context.Context, verb string) error {
			if down.Load() && verb == "renew" {
				return errors.New("down")
			}
			return nil
		}}
		g := guard(t, idempotency.Options{Store: store, Lease: 30 * time.Second, Wait: -1, Logger: slog.New(slog.DiscardHandler)})
		turn := enter(t, g)
		down.Store(true)
		time.Sleep(time.Minute)
		down.Store(false)
		time.Sleep(15 * time.Second)
		if _, err := g.Enter(t.Context(), request); !errors.Is(err, idempotency.ErrRunning) {
			t.Errorf("got %v, want ErrRunning", err)
		}
		turn.Abandon()
	})
}

func TestSlowOwnerLosesAndIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory(t, idempotency.MemoryOptions{})
		var healed atomic.Bool
		cut := &moody{Store: store, mood: func(_ context.Context, verb string) error {
			if verb == "renew" && !healed.Load() {
				return errors.New("no connection")
			}
			return nil
		}}
		quiet := slog.New(slog.DiscardHandler)
		old := enter(t, guard(t, idempotency.Options{Store: cut, Lease: 3 * time.Second, Logger: quiet}))
		time.Sleep(4 * time.Second)
		g := guard(t, idempotency.Options{Store: store, Lease: 3 * time.Second})
		next := enter(t, g)
		if next.Owner() != 2 || g.Stats().Lapsed != 1 {
			t.Errorf("owner number %d, %+v", next.Owner(), g.Stats())
		}
		healed.Store(true)
		select {
		case <-old.Context().Done():
			if cause := context.Cause(old.Context()); !errors.Is(cause, idempotency.ErrLost) {
				t.Errorf("the old owner's context ended because of %v", cause)
			}
		case <-time.After(time.Minute):
			t.Error("the old owner was not stopped")
		}
		if err := next.Complete(idempotency.Outcome{Status: 201}); err != nil {
			t.Fatal(err)
		}
		if err := old.Complete(idempotency.Outcome{Status: 500}); !errors.Is(err, idempotency.ErrLost) {
			t.Errorf("the old owner completes: %v, want ErrLost", err)
		}
		if o := enter(t, g).Replay(); o == nil || o.Status != 201 {
			t.Errorf("replayed %+v, want the new owner's", o)
		}
	})
}

func TestLapsedIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory(t, idempotency.MemoryOptions{})
		c := idempotency.Claim{
			ID: idempotency.NewID("", "r", "k"), Token: idempotency.NewToken(), Lease: time.Second, TTL: time.Hour,
		}
		begin(t, store, c) // by a process that dies now
		g := guard(t, idempotency.Options{Store: store, Lapsed: idempotency.Refuse})
		for range 3 {
			if _, err := g.Enter(t.Context(), request); !errors.Is(err, idempotency.ErrLapsed) {
				t.Errorf("got %v, want ErrLapsed", err)
			}
		}
		// Should it have been only slow, its outcome comes too late.
		if err := store.Complete(t.Context(), c.ID, c.Token, idempotency.Outcome{}, time.Hour); !errors.Is(err, idempotency.ErrLost) {
			t.Errorf("got %v, want ErrLost", err)
		}
		if got := g.Stats(); got.Lapsed != 3 || got.First != 0 {
			t.Errorf("%+v", got)
		}
	})
}

func TestOutcomeThatDoesNotFitIsRememberedWithoutItsBody(t *testing.T) {
	g := guard(t, idempotency.Options{Store: memory(t, idempotency.MemoryOptions{MaxBytes: 2000})})
	if err := enter(t, g).Complete(idempotency.Outcome{Status: 201, Body: make([]byte, 5000)}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Enter(t.Context(), request); !errors.Is(err, idempotency.ErrNotKept) {
		t.Errorf("got %v, want ErrNotKept", err)
	}
}

func TestTroubleWithTheStore(t *testing.T) {
	down, full, spoiled := errors.New("connection refused"), idempotency.ErrFull, idempotency.ErrCorrupt
	for name, c := range map[string]struct {
		err  error
		open bool
		log  string
	}{
		"down, closed":    {down, false, "idempotency store fails"},
		"down, open":      {down, true, "idempotency store fails"},
		"full, closed":    {full, false, "is full"},
		"full, open":      {full, true, "is full"},
		"corrupt, closed": {spoiled, false, "can not be read"},
		"corrupt, open":   {spoiled, true, "can not be read"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				store := &moody{Store: memory(t, idempotency.MemoryOptions{})}
				g := guard(t, idempotency.Options{
					Store: store, FailOpen: c.open, Logger: slog.New(slog.NewTextHandler(&log, nil)),
				})
				store.mood = func(context.Context, string) error { return c.err }
				for range 10 {
					turn, err := g.Enter(t.Context(), request)
					if c.open {
						if err != nil || turn.Owner() != 0 || turn.Replay() != nil {
							t.Fatalf("got %+v, %v, want to run unguarded", turn, err)
						}
						if err := turn.Complete(idempotency.Outcome{Status: 200}); err != nil {
							t.Error(err)
						}
					} else if !errors.Is(err, idempotency.ErrStore) || !errors.Is(err, c.err) && !strings.Contains(err.Error(), "asked only every") {
						t.Fatalf("got %v, want ErrStore and why", err)
					}
				}
				if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), c.log) {
					t.Errorf("told %d times: %s", n, log.String())
				}
				if got, want := g.Stats(), (idempotency.Stats{Unguarded: 10}); c.open && got != want {
					t.Errorf("%+v", got)
				}
				if got, want := g.Stats(), (idempotency.Stats{Refused: 10}); !c.open && got != want {
					t.Errorf("%+v", got)
				}
				store.mood = nil
				time.Sleep(2 * time.Second)
				enter(t, g).Abandon()
				lines := strings.Count(log.String(), "\n")
				if want := 2; c.err != spoiled && lines != want || c.err == spoiled && lines != 1 { // others may still be spoiled
					t.Errorf("told %d times when it was over: %s", lines, log.String())
				}
			})
		})
	}
}

func TestStoreThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &moody{Store: memory(t, idempotency.MemoryOptions{}), mood: func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		g := guard(t, idempotency.Options{Store: store, StoreTimeout: 100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
		start := time.Now()
		for range 100 {
			if _, err := g.Enter(t.Context(), request); !errors.Is(err, idempotency.ErrStore) {
				t.Fatalf("got %v, want ErrStore", err)
			}
		}
		if took, asked := time.Since(start), store.asked.Load(); took > 500*time.Millisecond || asked > 5 {
			t.Errorf("100 requests took %v and asked %d times: they should not all wait", took, asked)
		}
		time.Sleep(1100 * time.Millisecond)
		before := store.asked.Load()
		for range 10 {
			_, _ = g.Enter(t.Context(), request)
		}
		if n := store.asked.Load() - before; n != 1 {
			t.Errorf("asked %d times a second later, want once", n)
		}
	})
}

// While the store rests from failing, what has begun is ended nevertheless.
func TestEndingsAreToldWhileTheStoreRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &moody{Store: memory(t, idempotency.MemoryOptions{})}
		g := guard(t, idempotency.Options{Store: store, Logger: slog.New(slog.DiscardHandler)})
		turn := enter(t, g)
		store.mood = func(_ context.Context, verb string) error {
			if verb == "begin" {
				return errors.New("down")
			}
			return nil
		}
		other := request
		other.Key = "other"
		for range 10 {
			if _, err := g.Enter(t.Context(), other); !errors.Is(err, idempotency.ErrStore) {
				t.Fatalf("got %v, want ErrStore", err)
			}
		}
		if err := turn.Complete(idempotency.Outcome{Status: 201}); err != nil {
			t.Errorf("complete: %v", err)
		}
		store.mood = nil
		time.Sleep(2 * time.Second)
		if o := enter(t, g).Replay(); o == nil || o.Status != 201 {
			t.Errorf("replayed %+v", o)
		}
	})
}

// A caller who goes while the store thinks must leave no claim behind, nor the
// impression that the store is bad.
func TestCallerWhoLeavesWhileTheStoreThinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		store := &moody{Store: memory(t, idempotency.MemoryOptions{})}
		g := guard(t, idempotency.Options{Store: late{store}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, err := g.Enter(ctx, request); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			cancel()
		}
		if log.Len() > 0 {
			t.Errorf("told: %s", log.String())
		}
		start := time.Now()
		enter(t, g).Abandon()
		if took := time.Since(start); took > time.Second {
			t.Errorf("the next had to wait %v", took)
		}
	})
}

// late begins, and answers when the caller may have gone.
type late struct{ idempotency.Store }

func (l late) Begin(ctx context.Context, c idempotency.Claim) (idempotency.Entry, error) {
	e, err := l.Store.Begin(ctx, c)
	select {
	case <-time.After(10 * time.Millisecond):
		return e, err
	case <-ctx.Done():
		return idempotency.Entry{}, ctx.Err()
	}
}

func TestOutcomeThatTheStoreDoesNotTakeIsTrueNevertheless(t *testing.T) {
	store := &moody{Store: memory(t, idempotency.MemoryOptions{})}
	s := open(t, idempotency.Options{Store: store, Wait: -1, Logger: slog.New(slog.DiscardHandler)}, ordered)
	store.mood = func(_ context.Context, verb string) error {
		if verb == "complete" {
			return errors.New("gone")
		}
		return nil
	}
	s.want(post("k", "pen"), 201, false, "ordered pen")
	s.want(post("k", "pen"), 409, false, "running") // until the lease is over
	if got := s.guard.Stats().Unkept; got != 1 {
		t.Errorf("%d unkept", got)
	}
	store.mood = func(context.Context, string) error { return errors.New("secret address") }
	res := s.want(post("k", "pen"), 503, false, "store-unavailable")
	if res.Header.Get("Retry-After") != "1" {
		t.Error("no Retry-After")
	}
	s.want(post("k", "pen"), 503, false, `"status":503}`) // no detail about our store
}

// Whatever owners do, each operation takes effect once unless one of them said
// that it had none, and all who get an answer get the same.
func TestOnceProperty(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		seed := rapid.Uint64().Draw(r, "seed")
		guards := rapid.IntRange(1, 3).Draw(r, "guards")
		callers := rapid.IntRange(1, 12).Draw(r, "callers")
		synctest.Test(t, func(t *testing.T) {
			once(t, seed, guards, callers)
		})
	})
}

func once(t *testing.T, seed uint64, guards, callers int) {
	store := memory(t, idempotency.MemoryOptions{})
	var gs []*idempotency.Guard
	for range guards {
		gs = append(gs, guard(t, idempotency.Options{Store: store, Lease: time.Second, Wait: time.Hour}))
	}
	var effects atomic.Int32
	answers := make([]int, callers)
	var all sync.WaitGroup
	for i := range callers {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		all.Go(func() {
			time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
			for answers[i] == 0 { // as a client does
				turn, err := gs[i%guards].Enter(t.Context(), request)
				if err != nil {
					t.Errorf("seed %d: %v", seed, err)
					return
				}
				if o := turn.Replay(); o != nil {
					answers[i] = o.Status
					return
				}
				time.Sleep(time.Duration(rnd.IntN(5000)) * time.Millisecond)
				switch rnd.IntN(3) {
				case 0:
					turn.Abandon()
				case 1:
					_ = turn.Complete(idempotency.Outcome{Status: 503})
				default:
					n := effects.Add(1)
					if err := turn.Complete(idempotency.Outcome{Status: 200 + int(n)}); err != nil {
						t.Errorf("seed %d: %v", seed, err)
					}
					answers[i] = 200 + int(n)
				}
			}
		})
	}
	all.Wait()
	if n := effects.Load(); n != 1 {
		t.Errorf("seed %d: %d effects, want 1", seed, n)
	}
	for i, got := range answers {
		if got != 201 {
			t.Errorf("seed %d: caller %d got %d, want 201", seed, i, got)
		}
	}
}
