package drill

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or the backend if that is what this process is for.
func TestMain(m *testing.M) {
	if id := os.Getenv(backendEnv); id != "" {
		if err := backend(id, os.Getenv(agentEnv), os.Getenv(serviceEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
