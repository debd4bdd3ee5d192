package window

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Histogram keeps durations in buckets that grow by an eighth to a quarter of
// their octave, from a microsecond to about an hour. The zero value is empty. It
// is safe for concurrent use, takes no lock and never allocates.
type Histogram struct {
	buckets [histogramOctaves * 4]atomic.Uint64
}

const histogramOctaves = 32

// Record counts one duration.
func (h *Histogram) Record(d time.Duration) { h.buckets[histogramBucket(d)].Add(1) }

// Quantile returns the upper bound of the bucket in which the q-th part of all
// durations lies, 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	c := h.Counts()
	return c.Quantile(q)
}

// histogramBucket splits each power of two of microseconds into four.
func histogramBucket(d time.Duration) int {
	us := uint64(max(d/time.Microsecond, 0)) + 4 // so that the two bits below the first always exist
	octave := bits.Len64(us) - 3
	return min(octave*4+int(us>>octave)&3, len(Histogram{}.buckets)-1)
}

func histogramBound(i int) time.Duration {
	octave, quarter := i/4, uint64(i%4)
	return time.Duration((4+quarter+1)<<octave-4) * time.Microsecond
}
