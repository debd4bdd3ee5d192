// Package mono reads the monotonic clock as a plain number. It costs half of
// time.Now, fits in an atomic and, inside a testing/synctest bubble, follows
// the bubble's clock.
package mono

import "time"

var epoch = time.Now()

// bias keeps the number positive in a synctest bubble, whose clock begins in
// the year 2000.
const bias = 1 << 60

// Now returns the time since some moment long ago. Only differences mean
// anything.
func Now() time.Duration { return time.Since(epoch) + bias }
