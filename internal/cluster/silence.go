package cluster

import (
	"sync"
	"time"

	"github.com/innermesh/innermesh/internal/mono"
)

// tellEvery bounds how often it is told that the source fails, should it fail and
// answer in turns.
const tellEvery = time.Minute

// silence is whether the source answers, and since when it does not. Times are on
// the clock of mono.Now. It is safe for concurrent use.
type silence struct {
	mu     sync.Mutex
	begun  bool
	since  time.Duration
	failed bool // there was an error, not only nothing yet
	told   bool
	at     time.Duration // when it was told last
	ever   bool          // that it was
}

// begin notes that the source has not answered yet.
func (s *silence) begin() { s.begun, s.since = true, mono.Now() }

// fails notes an error and says whether it is to be told: the first in a row.
func (s *silence) fails() (tell bool) {
	now := mono.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun {
		s.begun, s.since = true, now
	}
	if s.failed {
		return false
	}
	s.failed = true
	if s.ever && now-s.at < tellEvery {
		return false
	}
	s.told, s.ever, s.at = true, true, now
	return true
}

// ends notes an answer and says whether it is to be told, and how long there was
// none.
func (s *silence) ends() (tell bool, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun {
		after = mono.Now() - s.since
	}
	tell = s.told
	s.begun, s.failed, s.told = false, false, false
	return tell, after
}

// lasted is for how long the source has not answered, 0 if it does.
func (s *silence) lasted(now time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun {
		return 0
	}
	return max(now-s.since, 0)
}

// Silent returns for how long the source has not answered: since it failed, or
// since the beginning; 0 if it does answer. now is on the clock of mono.Now.
func (c *Cluster) Silent(now time.Duration) time.Duration { return c.silence.lasted(now) }
