package bolt_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/deadletter/bolt"
	"github.com/innermesh/innermesh/deadletter/deadlettertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSink(t *testing.T) {
	dir := t.TempDir()
	deadlettertest.Run(t, func(t deadlettertest.TB) deadletter.Sink {
		f, err := os.CreateTemp(dir, "*.db")
		if err != nil {
			t.Fatalf("%v", err)
		}
		_ = f.Close()
		s, err := bolt.Open(f.Name(), bolt.Options{})
		if err != nil {
			t.Fatalf("%v", err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
}
