package saga_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashLog); path != "" {
		os.Exit(crashChild(path))
	}
	goleak.VerifyTestMain(m)
}
