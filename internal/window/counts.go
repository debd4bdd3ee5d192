package window

import "time"

// Counts is what a [Histogram] held at a moment. The difference of two says what
// came between.
type Counts [histogramOctaves * 4]uint64

// Counts returns what the histogram holds now.
func (h *Histogram) Counts() (c Counts) {
	for i := range h.buckets {
		c[i] = h.buckets[i].Load()
	}
	return c
}

// Total is how many durations were counted.
func (c *Counts) Total() (n uint64) {
	for _, k := range c {
		n += k
	}
	return n
}

// Since returns what came after earlier counts of the same histogram.
func (c *Counts) Since(earlier *Counts) (d Counts) {
	for i := range c {
		d[i] = c[i] - min(earlier[i], c[i])
	}
	return d
}

// Quantile is [Histogram.Quantile] of the counts.
func (c *Counts) Quantile(q float64) time.Duration {
	total := c.Total()
	if total == 0 {
		return 0
	}
	rank := max(uint64(q*float64(total)+0.5), 1)
	var seen uint64
	for i, n := range c {
		if seen += n; seen >= rank {
			return histogramBound(i)
		}
	}
	return histogramBound(len(c) - 1)
}
