package deadletter_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if store := os.Getenv(crashStore); store != "" {
		os.Exit(crashChild(store))
	}
	goleak.VerifyTestMain(m)
}
