// Package mono reads the monotonic clock as a plain number. It costs half of
// time.Now, fits in an atomic and, inside a testing/synctest bubble, follows
// the bubble's clock.
package mono

import "time"

var epoch = time.Now()

// Now returns the time since the process began. Only differences mean anything.
func Now() time.Duration { return time.Since(epoch) }
