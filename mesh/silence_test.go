package mesh

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/internal/mono"
)

func TestSilenceIsThatOfTheLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s silences
		is := func(want time.Duration) {
			t.Helper()
			if got := s.longest(mono.Now()); got != want {
				t.Errorf("silent for %v, want %v", got, want)
			}
		}
		is(0)
		web := s.of("web")
		time.Sleep(time.Second)
		shop := s.of("shop")
		time.Sleep(time.Second)
		is(2 * time.Second)
		web(false)
		is(2 * time.Second)
		web(true)
		is(time.Second)
		shop(true)
		is(0)
		web(false)
		time.Sleep(time.Minute)
		is(time.Minute)
	})
}
