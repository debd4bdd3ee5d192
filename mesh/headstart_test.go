package mesh

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestHeadStart(t *testing.T) {
	tests := map[string]struct {
		trouble bool          // somebody alive says that it is in trouble
		alive   time.Duration // when somebody alive speaks, 0 is never
		want    []string
	}{
		"silent":         {false, 0, []string{"kept"}},
		"alive in time":  {false, headStart - 1, []string{"alive"}},
		"alive too late": {false, headStart + 1, []string{"kept", "alive"}},
		"in trouble":     {true, headStart - 1, []string{"kept", "alive"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				say := func(word string) func() { return func() { got = append(got, word) } }
				r := startRace(say("kept"))
				if test.trouble {
					r.give()
					r.give()
				}
				if test.alive > 0 {
					time.Sleep(test.alive)
					r.alive(say("alive"))
				}
				time.Sleep(time.Hour)
				r.end()
				r.give() // it is over
				if !slices.Equal(got, test.want) {
					t.Errorf("said %q, want %q", got, test.want)
				}
			})
		})
	}
}
