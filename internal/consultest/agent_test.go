package consultest_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/internal/consultest"
)

const orphanEnv = "INNERMESH_CONSULTEST_ORPHAN"

func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		leaveOrphan()
	}
	goleak.VerifyTestMain(consultest.Main(m))
}

// leaveOrphan runs in a child of the test: it starts an agent, tells its
// address and waits to be killed.
func leaveOrphan() {
	a, err := consultest.Launch(context.Background(), consultest.Options{Dir: os.Getenv(orphanEnv)})
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString(a.HTTPAddr + "\n")
	select {}
}

func put(t *testing.T, a *consultest.Agent, key string) {
	t.Helper()
	if _, err := client(t, a).KV().Put(&api.KVPair{Key: key, Value: []byte("v")}, nil); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, a *consultest.Agent, key string) bool {
	t.Helper()
	pair, _, err := client(t, a).KV().Get(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair != nil
}

func client(t *testing.T, a *consultest.Agent) *api.Client {
	t.Helper()
	c, err := a.Client()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRestartForgetsOrKeeps(t *testing.T) {
	for _, persistent := range []bool{false, true} {
		t.Run(map[bool]string{false: "in memory", true: "persistent"}[persistent], func(t *testing.T) {
			a := consultest.Start(t, consultest.Options{Persistent: persistent})
			addr := a.HTTPAddr
			put(t, a, "k")
			if err := a.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if a.HTTPAddr != addr {
				t.Errorf("address changed from %s to %s", addr, a.HTTPAddr)
			}
			if got := has(t, a, "k"); got != persistent {
				t.Errorf("after a restart the key is there: %v, want %v", got, persistent)
			}
			a.Kill()
			if conn, err := net.Dial("tcp", a.HTTPAddr); err == nil {
				_ = conn.Close()
				t.Error("a killed agent still listens")
			}
			if err := a.Restart(t.Context()); err != nil {
				t.Fatalf("restart after a crash: %v", err)
			}
			if got := has(t, a, "k"); got != persistent {
				t.Errorf("after a crash the key is there: %v, want %v", got, persistent)
			}
		})
	}
}

func TestConfigAndToken(t *testing.T) {
	a := consultest.Start(t, consultest.Options{
		Config: `acl { enabled = true default_policy = "deny" tokens { initial_management = "root" agent = "root" } }`,
		Token:  "root",
	})
	put(t, a, "k")
	config := api.DefaultNonPooledConfig()
	config.Address = a.HTTPAddr
	anonymous, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = anonymous.KV().Put(&api.KVPair{Key: "k"}, nil)
	if status, ok := errors.AsType[api.StatusError](err); !ok || status.Code != 403 {
		t.Errorf("without a token: %v, want 403", err)
	}
}

func TestShared(t *testing.T) {
	a := consultest.Shared(t)
	if b := consultest.Shared(t); a != b {
		t.Error("two shared agents")
	}
	if a.GRPCAddr == a.HTTPAddr {
		t.Error("one port for two protocols")
	}
	if one, two := consultest.Name(t, "web"), consultest.Name(t, "web"); one == two || !strings.HasPrefix(one, "web-") {
		t.Errorf("names %q and %q", one, two)
	}
}

func TestBadConfigShowsTheLog(t *testing.T) {
	binary(t)
	_, err := consultest.Launch(t.Context(), consultest.Options{Config: `no_such_key = 1`})
	if err == nil || !strings.Contains(err.Error(), "no_such_key") {
		t.Errorf("got %v, want an error with the agent's own words", err)
	}
}

func TestAgentDiesWithItsParent(t *testing.T) {
	binary(t)
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("only Linux kills orphans")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), orphanEnv+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the child did not start its agent: %v", err)
	}
	addr := strings.TrimSpace(line)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		_ = conn.Close()
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the agent at %s outlived the program that started it", addr)
		}
	}
}

func binary(t *testing.T) {
	t.Helper()
	if _, err := consultest.Binary(); err != nil {
		if os.Getenv(consultest.RequireEnv) == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// fakeT records what Start does to a test that has no binary.
type fakeT struct {
	testing.TB
	skipped, failed bool
}

type giveUp struct{}

func (f *fakeT) Skip(...any)           { f.skipped = true; panic(giveUp{}) }
func (f *fakeT) Fatalf(string, ...any) { f.failed = true; panic(giveUp{}) }

func TestWithoutBinary(t *testing.T) {
	t.Setenv("CONSUL_BIN", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	for _, required := range []string{"", "1"} {
		t.Setenv(consultest.RequireEnv, required)
		f := &fakeT{TB: t}
		func() {
			defer func() {
				if r := recover(); r != (giveUp{}) {
					t.Errorf("Start went on without a binary: %v", r)
				}
			}()
			consultest.Start(f, consultest.Options{})
		}()
		if f.skipped == f.failed || f.failed != (required == "1") {
			t.Errorf("%s=%q: skipped %v, failed %v", consultest.RequireEnv, required, f.skipped, f.failed)
		}
	}
	t.Setenv("CONSUL_BIN", filepath.Join(t.TempDir(), "none"))
	if _, err := consultest.Binary(); err == nil || errors.Is(err, consultest.ErrNoBinary) {
		t.Errorf("a CONSUL_BIN that is not there: %v, want an error that no build can cure", err)
	}
}
