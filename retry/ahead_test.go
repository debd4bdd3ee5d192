package retry_test

import (
	"testing"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/retry"
)

// What is said before an attempt is what is done after it: no pause is longer,
// and there is another attempt exactly if one was foreseen.
func TestAhead(t *testing.T) {
	for name, test := range map[string]struct {
		options  retry.Options
		attempts int
		most     time.Duration // of the pause, 0 is no further attempt
	}{
		"first":          {retry.Options{Attempts: 9}, 1, 25 * time.Millisecond},
		"third":          {retry.Options{Attempts: 9}, 3, 100 * time.Millisecond},
		"late":           {retry.Options{Attempts: 99}, 50, 250 * time.Millisecond},
		"last":           {retry.Options{Attempts: 2}, 2, 0},
		"other failures": {retry.Options{On: []retry.Condition{retry.OnUnavailable}}, 1, 0},
		"poor":           {retry.Options{Budget: retry.BudgetOptions{Floor: -1}}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := &call.Call{Protocol: call.GRPC, Attempts: test.attempts, Idempotent: true, Replayable: true}
			p := retry.New(test.options, retry.NewBudget(test.options.Budget))
			most, foreseen := p.Ahead(c, 0)
			if foreseen != (test.most > 0) || most != test.most {
				t.Errorf("%v, %v; want %v", most, foreseen, test.most)
			}
			wait, again, why := p.Next(c, call.Outcome{Reason: call.TryTimeout, Sent: call.SentUnknown}, -1, 0, true)
			if again != foreseen || wait > most {
				t.Errorf("then %v, %v, %v", wait, again, why)
			}
		})
	}
}
