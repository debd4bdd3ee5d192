package mesh

import (
	"sync"
	"time"

	"github.com/innermesh/innermesh/internal/mono"
)

// silences are the sources that do not answer, and since when, on the clock of
// mono.Now. The zero value has none. It is safe for concurrent use.
type silences struct {
	mu    sync.Mutex
	since map[*string]time.Duration // by who follows it: one may begin before another has ended
}

// of follows a source, which has not answered yet; heard tells whether it does.
func (s *silences) of(source string) (heard func(answers bool)) {
	heard = func(answers bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.since == nil {
			s.since = make(map[*string]time.Duration)
		}
		if _, silent := s.since[&source]; answers {
			delete(s.since, &source)
		} else if !silent {
			s.since[&source] = mono.Now()
		}
	}
	heard(false)
	return heard
}

// longest is for how long the one has been silent that has been so longest, 0 if
// all answer.
func (s *silences) longest(now time.Duration) (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, since := range s.since {
		longest = max(longest, now-since)
	}
	return longest
}
