package browser

import (
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// requireEnv is set where a missing server or browser is a fault.
const requireEnv = "INNERMESH_REQUIRE_ENGINES"

// chromium finds the browser, or skips the test.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROMIUM_BIN"), "chromium", "chromium-browser", "google-chrome", "headless-shell"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	const how = "no Chromium: `make engines` installs Debian's, or CHROMIUM_BIN names one"
	if os.Getenv(requireEnv) == "1" {
		t.Fatal(how)
	}
	t.Skip(how)
	return ""
}
