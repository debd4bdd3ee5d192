package cluster

import (
	"fmt"

	"github.com/innermesh/innermesh/breaker"
)

// AllOpenError says that every instance of a service is kept away from.
type AllOpenError struct {
	// Members is how many there are.
	Members int
	// First is the refusal of the breaker that lets a probe in first.
	First *breaker.OpenError
}

// Error names the instance that will be probed first.
func (e *AllOpenError) Error() string {
	return fmt.Sprintf("all %d instances have failed too often; first to be probed again: %v", e.Members, e.First)
}

// Unwrap returns the first breaker's refusal, and through it [breaker.ErrOpen].
func (e *AllOpenError) Unwrap() error { return e.First }
