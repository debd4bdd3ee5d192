package call

import "time"

// MaxTries is how many attempts of a call are remembered.
const MaxTries = 5

// Try is one attempt that has failed.
type Try struct {
	// Instance is the ID of the instance that was tried.
	Instance string
	// Reason says how the attempt ended, Sent how far it got.
	Reason Reason
	Sent   Sent
	// Began is when it began, Took how long it lasted.
	Began time.Time
	Took  time.Duration
}

// Tried remembers an attempt that has failed.
func (c *Call) Tried(t Try) {
	if len(c.Tries) == MaxTries {
		copy(c.Tries[1:], c.Tries[2:])
		c.Tries = c.Tries[:MaxTries-1]
	}
	c.Tries = append(c.Tries, t)
}
