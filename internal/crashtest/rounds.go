package crashtest

import (
	"iter"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Rounds yields the number of each round until the test has failed: as many as
// `make crash` asks for, else for some time, of which a short test takes a fifth.
func Rounds(t *testing.T, within time.Duration) iter.Seq[int] {
	t.Helper()
	rounds, _ := strconv.Atoi(os.Getenv("INNERMESH_CRASH_ROUNDS"))
	if testing.Short() {
		within /= 5
	}
	return func(yield func(int) bool) {
		end := time.Now().Add(within)
		for n := 0; n < rounds || rounds == 0 && time.Now().Before(end); n++ {
			if !yield(n) || t.Failed() {
				return
			}
		}
	}
}

// Pause waits for a random while below most.
func Pause(t *testing.T, most time.Duration) {
	t.Helper()
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
