package deadlettertest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/deadletter/deadlettertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	deadlettertest.Run(t, func(deadlettertest.TB) deadletter.Sink { return new(deadletter.Memory) })
}
