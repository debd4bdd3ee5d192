package sagatest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/saga"
	"github.com/innermesh/innermesh/saga/sagatest"
)

func TestMemory(t *testing.T) {
	sagatest.Run(t, sagatest.Harness{
		Open:    func(*testing.T) saga.Log { return new(saga.Memory) },
		Advance: func(_ *testing.T, d time.Duration) { <-time.After(d) },
		Within:  synctest.Test,
	})
}
