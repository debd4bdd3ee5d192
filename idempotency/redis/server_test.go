package redis_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// requireEnv turns the skip of a test without a Redis server into a failure
// when it is "1". CI sets it.
const requireEnv = "INNERMESH_REQUIRE_ENGINES"

// binary is the server's, "" if there is none.
var binary, _ = exec.LookPath("redis-server")

// socket is where the package's server listens.
var socket string

func TestMain(m *testing.M) { goleak.VerifyTestMain(withServer{m}) }

// withServer runs the tests beside a server of their own.
type withServer struct{ m *testing.M }

func (w withServer) Run() int {
	if binary == "" {
		return w.m.Run()
	}
	stop, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	return w.m.Run()
}

// start starts a server that listens on a socket alone, so that there is no port
// that another could take. It ends when its standard input does: also when the
// tests are killed.
func start(settings ...string) (stop func(), err error) {
	dir, err := os.MkdirTemp("", "redis") // a socket's name must be short
	if err != nil {
		return nil, err
	}
	socket = filepath.Join(dir, "s")
	cmd := exec.Command("sh", append([]string{"-c", `"$@" >"$0" 2>&1 & cat; kill -9 $!; wait`, filepath.Join(dir, "log"), binary,
		"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no"}, settings...)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		stdin.Close()
		_ = cmd.Wait() // how a killed server ends says nothing
		os.RemoveAll(dir)
	}
	c := goredis.NewClient(options())
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		if err = c.Ping(ctx).Err(); err == nil {
			return stop, nil
		}
		retry := time.NewTimer(10 * time.Millisecond)
		select {
		case <-retry.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			stop()
			return nil, fmt.Errorf("redis-server is not ready: %w\n%s", err, log)
		}
	}
}

func options() *goredis.Options {
	return &goredis.Options{Network: "unix", Addr: socket, ContextTimeoutEnabled: true}
}

// client returns a client of the package's server, or skips the test.
func client(t testing.TB) *goredis.Client {
	t.Helper()
	if binary == "" {
		const how = "no redis-server in PATH: install it, on Debian with `apt-get install redis-server`"
		if os.Getenv(requireEnv) == "1" {
			t.Fatal(how)
		}
		t.Skip(how)
	}
	c := goredis.NewClient(options())
	t.Cleanup(func() { c.Close() })
	return c
}
