package saga_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/saga"
)

// script is what attempts of a step come to, one after the other; then they
// succeed. "effect" and "fail" are errors, with and without an effect, "none" is
// a refusal and "stop" a failure for good with an effect.
type script []string

// timeless hides the test's deadline, which may not be asked for in a bubble.
type timeless struct{ rapid.TB }

// Whatever steps do and whenever programs end, a saga comes to the end that the
// model foresees, by the calls that the model foresees.
func TestModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(timeless{t}, func(r *rapid.T) {
			const attempts = 3
			steps := rapid.IntRange(1, 5).Draw(r, "steps")
			pivot := rapid.IntRange(0, steps).Draw(r, "pivot") // none, if it is the number of steps
			dos, undos := make([]script, steps), make([]script, steps)
			words := rapid.SliceOfN(rapid.SampledFrom([]string{"effect", "fail", "fail", "none", "stop"}), 0, 4)
			for i := range steps {
				dos[i] = words.Draw(r, fmt.Sprint("do ", i))
				if i > pivot { // or it would be stuck
					dos[i] = slices.DeleteFunc(dos[i], func(w string) bool { return w == "none" || w == "stop" })
				}
				undos[i] = rapid.SliceOfN(rapid.Just("fail"), 0, 4).Draw(r, fmt.Sprint("undo ", i))
			}
			var did []string
			effects, interrupted := map[int]bool{}, map[int]bool{}
			wantDos, wantUndos := slices.Clone(dos), slices.Clone(undos)
			play := func(name string, s *script, i int, undo bool) func(context.Context, *order) error {
				return func(ctx context.Context, _ *order) error {
					select {
					case <-time.After(time.Second + 137*time.Microsecond): // never together with an end
					case <-ctx.Done(): // as if it had not been called, which the coordinator can not know
						interrupted[i] = true
						return ctx.Err()
					}
					did = append(did, name)
					word := "ok"
					if len(*s) > 0 {
						word, *s = (*s)[0], (*s)[1:]
					}
					if word == "ok" || word == "effect" || word == "stop" {
						effects[i] = !undo
					}
					switch word {
					case "effect", "fail":
						return errTrial
					case "none":
						return saga.NoEffect(errTrial)
					case "stop":
						return saga.Permanent(errTrial)
					default:
						return nil
					}
				}
			}
			def := &definition{Name: "model"}
			for i := range steps {
				s := step{Name: fmt.Sprint(i), Pivot: i == pivot, Do: play(fmt.Sprint(i), &dos[i], i, false)}
				if i < pivot || i == pivot && steps > pivot {
					s.Retry.Attempts = attempts
				}
				if i <= pivot {
					s.UndoRetry.Attempts = 5 // just enough
					s.Undo = play(fmt.Sprint("-", i), &undos[i], i, true)
				}
				def.Steps = append(def.Steps, s)
			}
			o := saga.Options{Log: new(saga.Memory), Definitions: []saga.Runnable{def}, Logger: quiet}
			c, err := saga.New(o)
			if err != nil {
				r.Fatal(err)
			}
			defer func() { _ = c.Close(t.Context()) }()
			if err := saga.Start(t.Context(), c, def, "one", order{}); err != nil {
				r.Fatal(err)
			}
			for range rapid.IntRange(0, 4).Draw(r, "programs") {
				time.Sleep(time.Duration(rapid.IntRange(0, 5000).Draw(r, "for ms")) * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rapid.IntRange(0, 1500).Draw(r, "patience ms"))*time.Millisecond)
				err := c.Close(ctx)
				cancel()
				if err != nil {
					r.Fatal(err)
				}
				if c, err = saga.New(o); err != nil {
					r.Fatal(err)
				}
			}
			got, err := c.Wait(t.Context(), "one")
			end, calls := foresee(wantDos, wantUndos, pivot, attempts, interrupted)
			if err != nil || got.Status != end || strings.Join(did, " ") != strings.Join(calls, " ") {
				r.Fatalf("%v, %v; did %q\nwant %s, %q", got, err, did, end, calls)
			}
			for i := range steps {
				if effects[i] != (end == saga.Completed) {
					r.Fatalf("%s, and the effect of %d is there: %t", end, i, effects[i])
				}
			}
		})
	})
}

// foresee returns how a saga ends, and by which calls. What was interrupted may
// have had an effect.
func foresee(dos, undos []script, pivot, attempts int, interrupted map[int]bool) (end saga.Status, calls []string) {
	for i, s := range dos {
		effect, failed := interrupted[i], false
		for n := 0; ; n++ {
			calls = append(calls, fmt.Sprint(i))
			if n == len(s) {
				break
			}
			effect = effect || s[n] != "none"
			if s[n] == "none" || s[n] == "stop" || i <= pivot && n+1 == attempts {
				failed = true
				break
			}
		}
		if !failed {
			continue
		}
		for back := i; back >= 0; back-- {
			if back < i || effect {
				for range len(undos[back]) + 1 {
					calls = append(calls, fmt.Sprint("-", back))
				}
			}
		}
		return saga.Compensated, calls
	}
	return saga.Completed, calls
}
