package consultest

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"sync"
)

// RequireEnv is the environment variable that turns the skip of a test without
// a Consul binary into a failure when it is "1". CI sets it.
const RequireEnv = "INNERMESH_REQUIRE_CONSUL"

// TB is what this package needs of a [testing.TB].
type TB interface { //nolint:interfacebloat // every test has them
	ArtifactDir() string
	Cleanup(f func())
	Context() context.Context
	Errorf(format string, args ...any)
	Failed() bool
	Fatalf(format string, args ...any)
	Helper()
	Logf(format string, args ...any)
	Skip(args ...any)
}

// Start launches an agent for this test alone and stops it when the test ends.
// The end of its log is shown if the test failed.
func Start(t TB, o Options) *Agent {
	t.Helper()
	skipWithoutBinary(t, &o)
	if o.Dir == "" {
		o.Dir = t.ArtifactDir()
	}
	a, err := Launch(t.Context(), o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Errorf("stop Consul: %v", err)
		}
		if t.Failed() {
			t.Logf("the last lines of %s:\n%s", a.LogPath(), a.LogTail(30))
		}
	})
	return a
}

// StartCluster does for several servers what [Start] does for one.
func StartCluster(t TB, servers int, o Options) *Cluster {
	t.Helper()
	skipWithoutBinary(t, &o)
	if o.Dir == "" {
		o.Dir = t.ArtifactDir()
	}
	c, err := LaunchCluster(t.Context(), servers, o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Errorf("stop Consul: %v", err)
		}
		for _, a := range c.Servers {
			if t.Failed() {
				t.Logf("the last lines of %s:\n%s", a.LogPath(), a.LogTail(30))
			}
		}
	})
	return c
}

// shared is the package's agent. It is state of the test binary, which is why
// it may stand here: a test has no other place that outlives it.
var shared struct {
	mu     sync.Mutex
	inMain bool
	agent  *Agent
	err    error
}

// M is what [Main] needs of a [testing.M].
type M interface{ Run() int }

// Main wraps m so that the agent of [Shared] ends with the tests. Use it
// innermost in TestMain:
//
//	goleak.VerifyTestMain(consultest.Main(m))
//	os.Exit(consultest.Main(m).Run())
func Main(m M) M { return mainRun{m} }

type mainRun struct{ m M }

// Run runs the tests, then stops the shared agent.
func (r mainRun) Run() int {
	shared.mu.Lock()
	shared.inMain = true
	shared.mu.Unlock()
	code := r.m.Run()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.agent != nil {
		if err := shared.agent.Stop(); err != nil {
			_, _ = os.Stderr.WriteString("stop the shared Consul: " + err.Error() + "\n")
			return max(code, 1)
		}
	}
	return code
}

// Shared returns the agent that all tests of the package share; the first call
// starts it. The package's TestMain must use [Main]. Keep tests apart with
// [Name], and do not kill it.
func Shared(t TB) *Agent {
	t.Helper()
	var o Options
	skipWithoutBinary(t, &o)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if !shared.inMain {
		t.Fatalf("nobody would stop the shared Consul: use consultest.Main in TestMain")
	}
	if shared.agent == nil && shared.err == nil {
		shared.agent, shared.err = Launch(t.Context(), o)
	}
	if shared.err != nil {
		t.Fatalf("shared Consul: %v", shared.err)
	}
	a := shared.agent
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last lines of the shared Consul's log:\n%s", a.LogTail(30))
		}
	})
	return a
}

// Name returns a name that starts with base and that no other test uses.
func Name(_ TB, base string) string {
	return base + "-" + strings.ToLower(rand.Text()[:8])
}

// skipWithoutBinary ends the test if there is nothing to run.
func skipWithoutBinary(t TB, o *Options) {
	t.Helper()
	if o.Binary != "" {
		return
	}
	path, err := Binary()
	switch {
	case err == nil:
		o.Binary = path
	case errors.Is(err, ErrNoBinary) && os.Getenv(RequireEnv) != "1":
		t.Skip(err.Error())
	default:
		t.Fatalf("%v", err)
	}
}
