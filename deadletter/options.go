package deadletter

import (
	"cmp"
	"fmt"
	"time"
)

const defaultTimeout = 30 * time.Second

func required(field string, set bool) error {
	if !set {
		return fmt.Errorf("%s is not set", field)
	}
	return nil
}

func notNegative[T int | time.Duration](field string, v T) error {
	if v < 0 {
		return fmt.Errorf("%s is %v: must not be negative", field, v)
	}
	return nil
}

// leaseFits makes sure that nobody else is given a letter that is being sent.
func leaseFits(lease, timeout time.Duration) error {
	if timeout = cmp.Or(timeout, defaultTimeout); lease < 0 || lease != 0 && lease <= timeout {
		return fmt.Errorf("Lease is %v: must be longer than the Timeout of %v", lease, timeout)
	}
	return nil
}
