package idempotency_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/idempotency/idempotencytest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	idempotencytest.Run(t, idempotencytest.Harness{
		Open:    func(t *testing.T) idempotency.Store { return memory(t, idempotency.MemoryOptions{}) },
		Advance: func(_ *testing.T, d time.Duration) { <-time.After(d) },
		Within:  synctest.Test,
	})
}

func TestMemoryForgetsTheLeastRecentlyUsed(t *testing.T) {
	m := memory(t, idempotency.MemoryOptions{MaxEntries: 3})
	a, b := done(t, m, "a", 10), done(t, m, "b", 10)
	if s := begin(t, m, claim("a")); s != idempotency.Done { // a is used
		t.Fatalf("a is %v", s)
	}
	if s := begin(t, m, claim("c")); s != idempotency.First {
		t.Fatalf("c is %v", s)
	}
	if s := begin(t, m, claim("d")); s != idempotency.First { // no room for b any more
		t.Fatalf("d is %v", s)
	}
	if n, evicted := m.Len(), m.Evicted(); n != 3 || evicted != 1 {
		t.Errorf("%d entries, %d evicted; want 3 and 1", n, evicted)
	}
	if s := begin(t, m, claim("a")); s != idempotency.Done {
		t.Errorf("a, used more recently than b, is %v", s)
	}
	if err := m.Complete(t.Context(), b.ID, b.Token, idempotency.Outcome{}, time.Hour); !errors.Is(err, idempotency.ErrLost) {
		t.Errorf("b was not forgotten: %v", err)
	}
	_ = a
}

func TestMemoryNeverForgetsWhatRuns(t *testing.T) {
	m := memory(t, idempotency.MemoryOptions{MaxEntries: 2})
	one, two := claim("1"), claim("2")
	begin(t, m, one)
	begin(t, m, two)
	if _, err := m.Begin(t.Context(), claim("3")); !errors.Is(err, idempotency.ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	if s := begin(t, m, claim("1")); s != idempotency.Running {
		t.Errorf("what ran is %v", s)
	}
	if err := m.Complete(t.Context(), two.ID, two.Token, idempotency.Outcome{}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if s := begin(t, m, claim("3")); s != idempotency.First {
		t.Errorf("there is room, and the next is %v", s)
	}
}

func TestMemoryBoundsBytes(t *testing.T) {
	m := memory(t, idempotency.MemoryOptions{MaxBytes: 20_000})
	first := done(t, m, "first", 8_000)
	done(t, m, "second", 8_000)
	done(t, m, "third", 8_000)
	if got := begin(t, m, idempotency.Claim{ID: first.ID, Token: idempotency.NewToken(), Lease: 1, TTL: 1}); got != idempotency.First {
		t.Errorf("the first is %v, want it forgotten", got)
	}
	huge := claim("huge")
	begin(t, m, huge)
	before := m.Len()
	body := []byte(strings.Repeat("x", 20_000))
	if err := m.Complete(t.Context(), huge.ID, huge.Token, idempotency.Outcome{Body: body}, time.Hour); !errors.Is(err, idempotency.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	if m.Len() != before {
		t.Errorf("%d entries before, %d after: forgotten in vain", before, m.Len())
	}
	if err := m.Complete(t.Context(), huge.ID, huge.Token, idempotency.Outcome{}.WithoutBody(), time.Hour); err != nil {
		t.Errorf("without its body: %v", err)
	}
}

func TestMemoryGivesBackWhatItTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory(t, idempotency.MemoryOptions{MaxBytes: 100_000})
		for round := range 5 {
			for i := range 20 {
				c := done(t, m, fmt.Sprint(round, i), 1_000)
				gone := c
				gone.ID[0]++
				begin(t, m, gone)
				if err := m.Abandon(t.Context(), gone.ID, gone.Token); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * time.Hour)
			if n := m.Len(); n != 0 {
				t.Fatalf("%d entries are left after their time", n)
			}
		}
		if m.Evicted() != 0 { // so bytes were counted down, too
			t.Errorf("%d outcomes were evicted though there was room", m.Evicted())
		}
	})
}

func TestMemoryRefusesBadOptions(t *testing.T) {
	_, err := idempotency.NewMemory(idempotency.MemoryOptions{MaxEntries: -1, MaxBytes: -2})
	if err == nil || !strings.Contains(err.Error(), "MaxEntries is -1") || !strings.Contains(err.Error(), "MaxBytes is -2") {
		t.Errorf("got %v, want both faults", err)
	}
}

func memory(t testing.TB, o idempotency.MemoryOptions) *idempotency.Memory {
	t.Helper()
	m, err := idempotency.NewMemory(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func claim(name string) idempotency.Claim {
	return idempotency.Claim{
		ID: idempotency.NewID("", "", name), Token: idempotency.NewToken(), Lease: time.Minute, TTL: time.Hour,
	}
}

func begin(t *testing.T, s idempotency.Store, c idempotency.Claim) idempotency.State {
	t.Helper()
	e, err := s.Begin(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return e.State
}

// done completes an operation with a body of that size.
func done(t *testing.T, s idempotency.Store, name string, size int) idempotency.Claim {
	t.Helper()
	c := claim(name)
	if got := begin(t, s, c); got != idempotency.First {
		t.Fatalf("%s is %v", name, got)
	}
	if err := s.Complete(t.Context(), c.ID, c.Token, idempotency.Outcome{Body: make([]byte, size)}, time.Hour); err != nil {
		t.Fatal(err)
	}
	return c
}
