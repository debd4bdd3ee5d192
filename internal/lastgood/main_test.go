package lastgood

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(crashing) != "" {
		writeForEver()
	}
	goleak.VerifyTestMain(m)
}
