package balancer

import (
	"math"
	"sync/atomic"
	"time"
)

// report is what a member has said it carries of what it can, and when: as an
// estimate does, in one word.
type report struct{ word atomic.Uint64 }

// believed is how long a report counts. Whoever is called says anew with each
// answer; who is not called may long be idle.
const believed = 5 * time.Second

// Report takes in how much of what it can carry the member says it is carrying: 1
// is all. What is not a number above 0 says nothing.
func (m *Member) Report(now time.Duration, utilization float64) {
	if utilization > 0 {
		m.reported.word.Store(pack(utilization, now))
	}
}

// Utilization returns what the member has reported of late, 0 if it has not.
func (m *Member) Utilization(now time.Duration) float64 {
	word := m.reported.word.Load()
	age := int32(uint32(now>>tick) - uint32(word)) // negative if another goroutine is ahead
	if word == 0 || age > int32(believed>>tick) {
		return 0
	}
	return value(word)
}

// pressure is how many times longer calls wait at a member that carries so much:
// that of a queue with one server, 1/(1-u), up to where it would know no bound.
func (m *Member) pressure(now time.Duration) float64 {
	return 1 / (1 - math.Min(m.Utilization(now), mostPressed))
}

// crowded says that the member may soon turn calls away.
func (m *Member) crowded(now time.Duration) bool { return m.Utilization(now) >= crowdedFrom }

// crowdedFrom is the utilization from which on it is worth to draw anew. Of two at
// random both are among the busy half of all in one of four draws, however much is
// known of them.
const crowdedFrom = 0.8

// mostPressed is the utilization from which on members are alike: 20 times as slow.
const mostPressed = 0.95
