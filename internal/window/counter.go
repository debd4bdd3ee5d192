// Package window counts events over the recent past, in a ring of buckets.
package window

import (
	"sync/atomic"
	"time"
)

// Counter sums what was added during the last span of time, in steps of a
// bucket. It is safe for concurrent use, takes no lock and never allocates
// after [New]. A bucket that changes hands while others add to it may lose a
// few of their events; the sum is meant for ratios, not for accounts.
type Counter struct {
	width   time.Duration
	buckets []bucket
}

type bucket struct {
	turn atomic.Int64 // which multiple of width the bucket counts for
	n    atomic.Int64
}

// New returns a counter over span, in the given number of buckets.
func New(span time.Duration, buckets int) *Counter {
	c := &Counter{width: max(span/time.Duration(buckets), 1), buckets: make([]bucket, buckets)}
	for i := range c.buckets {
		c.buckets[i].turn.Store(-1)
	}
	return c
}

// Add counts n events at now.
func (c *Counter) Add(now time.Duration, n int64) {
	turn := int64(now / c.width)
	b := &c.buckets[turn%int64(len(c.buckets))]
	if old := b.turn.Load(); old != turn && b.turn.CompareAndSwap(old, turn) {
		b.n.Store(0)
	}
	b.n.Add(n)
}

// Sum returns how many events the span that ends at now has seen.
func (c *Counter) Sum(now time.Duration) int64 {
	turn := int64(now / c.width)
	var sum int64
	for i := range c.buckets {
		b := &c.buckets[i]
		if t := b.turn.Load(); t <= turn && t > turn-int64(len(c.buckets)) {
			sum += b.n.Load()
		}
	}
	return sum
}
