package breaker_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/call"
)

func attempt(t *testing.T, b *breaker.Breaker, r call.Reason) {
	t.Helper()
	leave, err := b.Enter()
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	leave.Done(r)
}

func wantState(t *testing.T, b *breaker.Breaker, want breaker.State) {
	t.Helper()
	if got, _ := b.State(); got != want {
		t.Fatalf("state = %v, want %v", got, want)
	}
}

func TestOpensAfterFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.Change
		b := breaker.New("web-1", breaker.Options{}, func(c breaker.Change) { changes = append(changes, c) })
		for range 4 {
			attempt(t, b, call.Faulty)
		}
		attempt(t, b, call.OK) // breaks the row
		for range 5 {
			wantState(t, b, breaker.Closed)
			attempt(t, b, call.Unreachable)
		}
		wantState(t, b, breaker.Open)
		_, err := b.Enter()
		open, ok := errors.AsType[*breaker.OpenError](err)
		if !ok || !errors.Is(err, breaker.ErrOpen) {
			t.Fatalf("refusal = %v", err)
		}
		if open.Name != "web-1" || open.Probe.Sub(open.Since) != 5*time.Second {
			t.Errorf("refusal says %+v", open)
		}
		if !strings.Contains(err.Error(), "web-1") || !strings.Contains(err.Error(), "next probe") {
			t.Errorf("refusal reads %q", err)
		}
		if len(changes) != 1 || changes[0].To != breaker.Open || time.Until(changes[0].Until) != 5*time.Second {
			t.Errorf("changes told: %+v", changes)
		}
	})
}

// A probe that never ends is followed by another after a rest, and counts if it
// ends all the same.
func TestProbesThatHangLapse(t *testing.T) {
	const rest = 5 * time.Second
	halfOpen := func(t *testing.T) (*breaker.Breaker, breaker.Leave) {
		b := breaker.New("web-1", breaker.Options{}, nil)
		for range 5 {
			attempt(t, b, call.Faulty)
		}
		<-time.After(rest + time.Nanosecond)
		hangs, err := b.Enter()
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(rest - time.Nanosecond)
		if _, err := b.Enter(); !errors.Is(err, breaker.ErrOpen) {
			t.Fatalf("a second probe within the rest: %v", err)
		}
		<-time.After(time.Nanosecond)
		return b, hangs
	}
	for _, late := range []call.Reason{call.OK, call.Faulty, call.Canceled} {
		t.Run(late.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _ := halfOpen(t)
				attempt(t, b, call.OK)
				wantState(t, b, breaker.Closed)

				b, hangs := halfOpen(t)
				second, err := b.Enter()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := b.Enter(); !errors.Is(err, breaker.ErrOpen) {
					t.Fatalf("a third probe: %v", err)
				}
				hangs.Done(late)
				wantState(t, b, map[call.Reason]breaker.State{call.OK: breaker.Closed, call.Faulty: breaker.Open, call.Canceled: breaker.HalfOpen}[late])
				if _, err := b.Enter(); (err == nil) != (late == call.OK) {
					t.Errorf("another, while the second is under way: %v", err)
				}
				second.Done(call.OK)
				if late == call.Canceled {
					wantState(t, b, breaker.Closed)
				}
			})
		})
	}
}

func TestOpensByShareOfFailures(t *testing.T) {
	b := breaker.New("web-1", breaker.Options{Failures: -1, MinRequests: 10}, nil)
	for i := range 9 {
		attempt(t, b, []call.Reason{call.OK, call.Faulty}[i%2])
		wantState(t, b, breaker.Closed)
	}
	attempt(t, b, call.Faulty)
	wantState(t, b, breaker.Open)
}

func TestShareForgetsWhatIsOlderThanTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New("web-1", breaker.Options{Failures: -1, MinRequests: 10}, nil)
		for range 9 {
			attempt(t, b, call.Faulty)
		}
		time.Sleep(11 * time.Second)
		for range 9 {
			attempt(t, b, call.OK)
		}
		attempt(t, b, call.Faulty)
		wantState(t, b, breaker.Closed)
	})
}

func TestNeutralReasonsCountForNothing(t *testing.T) {
	b := breaker.New("web-1", breaker.Options{}, nil)
	for range 4 {
		attempt(t, b, call.Reset)
	}
	for _, r := range call.Reasons() {
		if r.Neutral() {
			attempt(t, b, r)
		}
	}
	wantState(t, b, breaker.Closed)
	attempt(t, b, call.Reset) // the fifth in the row
	wantState(t, b, breaker.Open)
}

func TestProbesDecide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New("web-1", breaker.Options{Failures: 1, Probes: 2}, nil)
		attempt(t, b, call.Reset)
		wantState(t, b, breaker.Open)

		time.Sleep(5*time.Second + 1)
		first, err := b.Enter()
		if err != nil {
			t.Fatal(err)
		}
		second, err := b.Enter()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Enter(); !errors.Is(err, breaker.ErrOpen) || !strings.Contains(err.Error(), "half-open") {
			t.Fatalf("third probe: %v", err)
		}
		first.Done(call.OK)
		wantState(t, b, breaker.HalfOpen)
		second.Done(call.OK)
		wantState(t, b, breaker.Closed)

		attempt(t, b, call.Reset)
		time.Sleep(5*time.Second + 1)
		attempt(t, b, call.Reset)
		wantState(t, b, breaker.Open)
	})
}

func TestOff(t *testing.T) {
	b := breaker.New("web-1", breaker.Options{Failures: -1, Ratio: -1}, nil)
	for range 1000 {
		attempt(t, b, call.Faulty)
	}
	wantState(t, b, breaker.Closed)
}

func TestValidateNamesEveryFault(t *testing.T) {
	err := breaker.Options{Ratio: 2, MinRequests: -1, Window: -1, Open: -1, Probes: -1}.Validate()
	for _, field := range []string{"Ratio", "MinRequests", "Window", "Open", "Probes"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	if err := (breaker.Options{}).Validate(); err != nil {
		t.Error(err)
	}
}

func BenchmarkEnterDone(b *testing.B) {
	br := breaker.New("web-1", breaker.Options{}, nil)
	b.ReportAllocs()
	for b.Loop() {
		leave, err := br.Enter()
		if err != nil {
			b.Fatal(err)
		}
		leave.Done(call.OK)
	}
}
